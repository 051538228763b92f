-- Verbs by hand. Arguments: cancel, retry, run or remove; lane, offset of each job. Answer: 1 when
-- `:out` has news, then lane, offset, 1 if a worker has it, of each job that was changed.
local answer = { 0 }
local verb = arg()

local function changed(lane, offset, held)
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3] = lane, offset, held and 1 or 0
end

-- A plain job that gets a row, not placed yet; its place in the lane stays as it is.
local function row_beside(lane, offset, chunk)
  local of = m.name_of(lane)
  local place = { p = of[1], t = of[2], k = of[3] }
  return m.new_row(lane, offset, place, m.record_of(chunk, offset), chunk.ms)
end

local function take_out(lane, offset)
  call('ZADD', base .. ':t', 0, m.pad(lane, offset))
  m.bump('waiting', -1)
end

local function cancel_plain(lane, offset)
  local state, chunk = m.plain_state(lane, offset)
  if state == 'waiting' then
    take_out(lane, offset)
    m.finish(row_beside(lane, offset, chunk), 'cancelled')
    return changed(lane, offset, false)
  end
  local holder = state == 'running' and m.holder_of_plain(lane, offset)
  if not holder then return end
  local row = row_beside(lane, offset, chunk)
  call('HSET', m.row_key(row.id), 'ep', holder.epoch, 'cn', holder.claim_no, 's', holder.began)
  call('ZADD', base .. ':xc:' .. holder.epoch, 0, row.pad)
  m.bump('cancelled', 1)
  m.finish(row, 'cancelled')
  changed(lane, offset, true)
end

local function cancel(row)
  if not m.unfinished[row.st] then return end
  local held = row.st == 'running'
  if held then call('ZADD', base .. ':xc:' .. row.ep, 0, row.pad) end
  m.finish(row, 'cancelled')
  changed(row.lane, row.offset, held)
end

-- Who still has a cancelled job lets go of it now: what it says about it later comes too late.
local function take_away(row)
  m.hold_for(row.ep)
  if call('HEXISTS', base .. ':e:' .. row.ep, row.id) == 1 then
    m.release_row(row.lane, row.offset)
  else
    m.release_ranges(row.cn, { [row.lane] = { row.offset, row.offset } }, function() end)
    m.save_claims()
  end
end

-- Parents that have not come to an end are waited for again; how many.
local function count_parents(row)
  local count = 0
  for _, field in ipairs(call('HKEYS', m.row_key(row.id))) do
    local parent = string.match(field, '^w:(.*)$')
    if parent then
      local lane, offset = m.parse_id(parent)
      if not m.name_of(tonumber(lane)) then
        count = count + 1
        call('ZADD', base .. ':links', now, row.id)
        -- One that has failed cancelled it before; told to run again, it shall.
        if row.m == 'cancel' then call('HSET', m.row_key(row.id), 'm', 'run') end
      elseif m.outcome_of(lane, offset) == nil then
        count = count + 1
        m.add_link(parent, row.m, base, row.id)
      else
        call('HDEL', m.row_key(row.id), field)
      end
    end
  end
  call('HSET', m.row_key(row.id), 'pl', count)
  return count
end

local function takes_key(row)
  if not row.u then return true end
  local field = m.unique_field(row)
  local list, left = m.unique_list(field), {}
  for _, one in ipairs(list) do
    if one[1] ~= row.id then
      if m.unfinished[call('HGET', m.row_key(one[1]), 'st') or ''] then return false end
      left[#left + 1] = one
    end
  end
  left[#left + 1] = { row.id, row.ut }
  m.save_unique(field, left)
  return true
end

local function retry(row)
  if m.unfinished[row.st] or row.st == 'completed' or not takes_key(row) then return end
  if row.ep then take_away(row) end
  m.leave(row)
  row.st, row.f, row.c = nil, 0, math.min(row.c, 1)
  call('HSET', m.row_key(row.id), 'f', 0, 'c', row.c)
  call('HDEL', m.row_key(row.id), 'z', 's', 'ep', 'cn')
  local waits = row.m and count_parents(row) > 0
  m.place(row, waits and 'blocked' or 'waiting', now)
  changed(row.lane, row.offset, false)
end

local function run(row)
  if row.st ~= 'delayed' and row.st ~= 'retrying' then return end
  m.place(row, 'waiting', now)
  changed(row.lane, row.offset, false)
end

local function remove(row)
  if row.st == 'running' or row.ep then return end
  if m.unfinished[row.st] then m.notify_children(row.lane, row.offset, row.offset, false) end
  m.release_unique(row, true)
  call('ZREM', base .. ':keep', row.pad)
  m.delete_row(row)
  changed(row.lane, row.offset, false)
end

-- Of a piece that has ended one offset is marked as gone.
local function remove_completed(lane, offset, chunk, piece)
  local pieces = m.read_pieces(lane, chunk.first)
  local from, to = pieces[piece.at], pieces[piece.at + 1]
  local split = {}
  for i, value in ipairs(pieces) do
    if i < piece.at or i > piece.at + 3 then split[#split + 1] = value end
  end
  local ended = piece.ended
  local parts = { { from, offset - 1, ended }, { offset, offset, 0 }, { offset + 1, to, ended } }
  for _, part in ipairs(parts) do
    if part[1] <= part[2] then
      local n = #split
      split[n + 1], split[n + 2] = part[1], part[2]
      split[n + 3], split[n + 4] = piece.began, part[3]
    end
  end
  m.write_pieces(lane, chunk.first, split)
  m.bump('kept', -1)
end

local function remove_plain(lane, offset)
  local state, chunk, piece = m.plain_state(lane, offset)
  local id = lane .. '-' .. offset
  if state == 'waiting' then
    take_out(lane, offset)
    m.notify_children(lane, offset, offset, false)
  elseif state == 'completed' then
    remove_completed(lane, offset, chunk, piece)
    call('ZREM', base .. ':keep', m.pad(lane, offset))
    call('HDEL', base .. ':res', id)
    call('HDEL', base .. ':prog', id)
  else
    return
  end
  changed(lane, offset, false)
end

local rows = { cancel = cancel, retry = retry, run = run, remove = remove }
local plain = { cancel = cancel_plain, remove = remove_plain }
while position < #ARGV do
  local lane, offset = number(), number()
  local row = m.load_row(lane, offset)
  if row then
    rows[verb](row)
  elseif plain[verb] then
    plain[verb](lane, offset)
  end
end
m.save()
answer[1] = m.news
return answer
