-- Plain jobs: chunks of up to 64 records, stored as they came and never written again. A chunk is
-- `<count> <ms of its enqueue>` and a line feed, then records with \30 between them; a record is
-- name, version, options, payload with \31 between them. What has ended of a chunk stands in
-- `:s:<lane>` as from, to, began, ended; ended is 0 for jobs that have a row of their own now.
m.pieces, m.pieces_changed, m.ended = {}, {}, {}

-- The text of a chunk, how many jobs, since when, and where the records begin; nil: gone.
function m.read_chunk(lane, first)
  local text = call('HGET', base .. ':b:' .. lane, first)
  if not text then return nil end
  local count, ms, start = string.match(text, '^(%d+) (%d+)\n()')
  return text, tonumber(count), tonumber(ms), start
end

-- Records skip + 1 to skip + jobs.
function m.slice(text, start, skip, jobs)
  local find = string.find
  for _ = 1, skip do start = find(text, '\30', start, true) + 1 end
  local stop = start
  for _ = 1, jobs do
    local at = find(text, '\30', stop, true)
    if not at then return string.sub(text, start) end
    stop = at + 1
  end
  return string.sub(text, start, stop - 2)
end

-- What has ended of a chunk, as this script sees it.
function m.read_pieces(lane, first)
  local of_lane = m.pieces[lane]
  if not of_lane then
    of_lane = {}
    m.pieces[lane] = of_lane
  end
  local pieces = of_lane[first]
  if not pieces then
    local text = call('HGET', base .. ':s:' .. lane, first)
    pieces = text and cmsgpack.unpack(text) or {}
    of_lane[first] = pieces
  end
  return pieces
end

function m.write_pieces(lane, first, pieces)
  local changed = m.pieces_changed[lane]
  if not changed then
    changed = {}
    m.pieces_changed[lane] = changed
    m.pieces[lane] = m.pieces[lane] or {}
  end
  m.pieces[lane][first] = pieces
  changed[first] = true
  m.chunks_changed = true
end

-- One command for all chunks of a lane, and one for all that have ended.
function m.save_pieces()
  for lane, firsts in pairs(m.pieces_changed) do
    local fields = {}
    for first in pairs(firsts) do
      fields[#fields + 1] = first
      fields[#fields + 1] = cmsgpack.pack(m.pieces[lane][first])
    end
    m.in_parts('HSET', base .. ':s:' .. lane, fields)
  end
  m.in_parts('RPUSH', base .. ':done', m.ended)
end

function m.forget_results(lane, from, to)
  if not m.exists(':res', ':prog') then return end
  for offset = from, to do
    local id = lane .. '-' .. offset
    if call('EXISTS', m.row_key(id)) == 0 then
      call('HDEL', base .. ':prog', id)
      m.forget_result(id, m.pad(lane, offset))
    end
  end
end

-- Forgets chunks of a lane with all that was kept of their jobs; `acked` of these had completed.
function m.drop_chunks(lane, firsts, acked)
  call('HDEL', base .. ':b:' .. lane, unpack(firsts))
  call('HDEL', base .. ':s:' .. lane, unpack(firsts))
  local changed = m.pieces_changed[lane] or {}
  for _, first in ipairs(firsts) do changed[first] = nil end
  m.bump('kept', -acked)
end

-- Offsets from..to of a chunk came to an end.
function m.end_piece(lane, first, count, from, to, began, ended)
  local pieces = {}
  if to - from + 1 < count then pieces = m.read_pieces(lane, first) end
  local size = #pieces
  pieces[size + 1], pieces[size + 2], pieces[size + 3], pieces[size + 4] = from, to, began, ended
  local acked, total = 0, 0
  for i = 1, #pieces, 4 do
    local jobs = pieces[i + 1] - pieces[i] + 1
    total = total + jobs
    if pieces[i + 3] > 0 then acked = acked + jobs end
  end
  local kept = acked > 0 and m.history_max ~= 0
  if total == count and not kept then
    m.forget_results(lane, first, first + count - 1)
    return m.drop_chunks(lane, { first }, acked)
  end
  m.write_pieces(lane, first, pieces)
  if total == count then
    m.ended[#m.ended + 1] = string.format('%d %d %d %d', lane, first, count, now)
  end
end

function m.acked_in(pieces)
  local acked = 0
  for i = 1, #pieces, 4 do
    if pieces[i + 3] > 0 then acked = acked + pieces[i + 1] - pieces[i] + 1 end
  end
  return acked
end

function m.parse_ended(entry)
  local lane, first, count, ended = string.match(entry, '^(%d+) (%d+) (%d+) (%d+)$')
  return tonumber(lane), tonumber(first), tonumber(count), tonumber(ended)
end

-- Keeps about as many completed jobs as shall be kept: some more, so that many go at once.
function m.trim_history(max)
  if q.kept <= max + 640 then return end
  local entries, by_lane = {}, {}
  while q.kept > max do
    entries = call('LPOP', base .. ':done', 64)
    if not entries then return end
    for _, entry in ipairs(entries) do
      local lane, first, count = m.parse_ended(entry)
      by_lane[lane] = by_lane[lane] or { acked = 0 }
      local drops = by_lane[lane]
      drops[#drops + 1] = first
      drops.acked = drops.acked + m.acked_in(m.read_pieces(lane, first))
      m.forget_results(lane, first, first + count - 1)
    end
    for lane, drops in pairs(by_lane) do m.drop_chunks(lane, drops, drops.acked) end
    by_lane = {}
  end
end
