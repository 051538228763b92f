-- Removes jobs that came to an end long ago, the oldest first. Arguments: age in ms, how many at
-- most.
-- Answer: how many.
local cutoff, limit = now - number(), number()
local removed = 0

-- Of a chunk that stays, jobs that are old enough are marked as gone: how many.
local function drop_some(lane, first, max)
  local left, room = {}, max
  local pieces = m.read_pieces(lane, first)
  for i = 1, #pieces, 4 do
    local from, to, began, ended = pieces[i], pieces[i + 1], pieces[i + 2], pieces[i + 3]
    local is_old = ended > 0 and ended <= cutoff
    local jobs = is_old and math.min(room, to - from + 1) or 0
    if jobs > 0 then
      m.forget_results(lane, from, from + jobs - 1)
      room = room - jobs
    end
    for _, part in ipairs({ { from, from + jobs - 1, 0 }, { from + jobs, to, ended } }) do
      if part[1] <= part[2] then
        local n = #left
        left[n + 1], left[n + 2], left[n + 3], left[n + 4] = part[1], part[2], began, part[3]
      end
    end
  end
  if room == max then return 0 end
  m.write_pieces(lane, first, left)
  m.bump('kept', room - max)
  return max - room
end

while removed < limit do
  local entry = call('LINDEX', base .. ':done', 0)
  if not entry then break end
  local lane, first, count, ended = m.parse_ended(entry)
  if ended > cutoff then break end
  local acked = m.acked_in(m.read_pieces(lane, first))
  if acked > limit - removed then
    removed = removed + drop_some(lane, first, limit - removed)
    break
  else
    call('LPOP', base .. ':done')
    m.forget_results(lane, first, first + count - 1)
    m.drop_chunks(lane, { first }, acked)
    removed = removed + acked
  end
end

-- Chunks of which some jobs are held or not claimed yet.
local function open_chunks()
  local chunks, seen = {}, {}
  local function add(lane, first)
    local name = lane .. ' ' .. first
    if not seen[name] then chunks[#chunks + 1] = { lane, first } end
    seen[name] = true
  end
  for lane, pieces in pairs(m.pieces_held()) do
    for _, piece in ipairs(pieces) do add(lane, piece.first) end
  end
  for _, lane in ipairs(call('ZRANGE', base .. ':ready', 0, 999)) do
    local at = m.lane(tonumber(lane))
    if at.first < at.next then add(at.id, at.first) end
  end
  return chunks
end

for _, chunk in ipairs(open_chunks()) do
  if removed >= limit then break end
  removed = removed + drop_some(chunk[1], chunk[2], limit - removed)
end

local function is_awaited(row)
  local beyond = '(' .. m.pad(row.lane, row.offset + 1)
  local links = call('ZRANGEBYLEX', base .. ':kids', '[' .. row.pad, beyond, 'LIMIT', 0, 1)
  return links[1] ~= nil
end

for _, status in ipairs({ 'completed', 'dead', 'cancelled', 'quarantined' }) do
  local found = call('ZRANGEBYSCORE', base .. ':i:' .. status, '-inf', cutoff, 'LIMIT', 0, limit)
  for _, padded in ipairs(found) do
    if removed >= limit then break end
    local row = m.load_row(m.unpad(padded))
    if row and not row.ep and row.ut <= now and not is_awaited(row) then
      m.release_unique(row, true)
      m.delete_row(row)
      removed = removed + 1
    end
  end
end
if removed < limit then
  local kept = call('ZRANGEBYSCORE', base .. ':keep', '-inf', cutoff, 'LIMIT', 0, limit)
  for _, padded in ipairs(kept) do
    local lane, offset = m.unpad(padded)
    call('HDEL', base .. ':res', lane .. '-' .. offset)
    call('ZREM', base .. ':keep', padded)
  end
end
m.save()
return removed
