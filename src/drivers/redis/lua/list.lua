-- A stretch of the jobs of this queue that pass a filter. With a status that only rows have they
-- come by the time they took it, the newest first; else lane by lane, the newest lane and job
-- first, where a job keeps its place whether it has a row or not.
-- Arguments: status, name, tenant, fingerprint ('' for any), key (\1 for any), from, to (ms or ''),
-- jobs at most; where to go on: lane, offset and time ('' at first).
-- Answer: lane, offset, time to go on with, 1 at the end, snapshots.
local looks_max, lanes_max = 2000, 200
local want = {
  status = arg(), name = arg(), tenant = arg(), fingerprint = arg(), key = arg(),
  from = number(), to = number(),
}
local max = number()
local after_lane, after_offset, after_time = arg(), arg(), arg()
local found, looks = {}, 0

local function in_time(ms)
  return (not want.from or ms >= want.from) and (not want.to or ms < want.to)
end

local function named(record)
  return want.name == '' or string.match(record, '^[^\31]*') == want.name
end

local function is_wanted_row(row)
  if want.status ~= '' and row.st ~= want.status then return false end
  if want.tenant ~= '' and row.t ~= want.tenant then return false end
  if want.key ~= '\1' and row.k ~= want.key then return false end
  if not in_time(row.e) then return false end
  local fingerprint = want.fingerprint ~= '' and call('HGET', m.row_key(row.id), 'fp')
  if fingerprint ~= (want.fingerprint ~= '' and want.fingerprint) then return false end
  return want.name == '' or named(m.text_of(':data', row.id))
end

local function look_at_row(padded)
  looks = looks + 1
  local row = m.load_row(m.unpad(padded))
  if row and is_wanted_row(row) then found[#found + 1] = m.row_snapshot(row) end
end

local function is_over() return #found >= max or looks >= looks_max end

-- By time: rows of one status.
local function list_by_time()
  local key = base .. ':i:' .. want.status
  local top, skip = after_time == '' and '+inf' or after_time, 0
  while true do
    local rows = call('ZREVRANGEBYSCORE', key, top, '-inf', 'WITHSCORES', 'LIMIT', skip, 200)
    for i = 1, #rows, 2 do
      local seen = after_time ~= '' and tonumber(rows[i + 1]) == tonumber(after_time)
        and rows[i] >= m.pad(after_lane, after_offset)
      if not seen then
        look_at_row(rows[i])
        if is_over() then
          local lane, offset = m.unpad(rows[i])
          return { tostring(lane), string.format('%d', offset), rows[i + 1], 0, found }
        end
      end
    end
    if #rows < 400 then return { '', '', '', 1, found } end
    skip = skip + 200
  end
end

-- First offsets of the chunks of a lane that somebody claimed from, descending.
local function claimed_chunks(lane)
  local firsts, seen = {}, {}
  local function add(first)
    if seen[first] then return end
    seen[first] = true
    firsts[#firsts + 1] = first
  end
  for _, first in ipairs(call('HKEYS', base .. ':s:' .. lane)) do add(tonumber(first)) end
  m.held_now = m.held_now or m.pieces_held()
  for _, piece in ipairs(m.held_now[lane] or {}) do add(piece.first) end
  table.sort(firsts, function(a, b) return a > b end)
  return firsts
end

local function next_chunk(walk, below)
  if below - 1 >= walk.next then
    local first, text, count, ms, start = m.find_chunk(walk.lane, below - 1)
    if first then return { first = first, text = text, count = count, ms = ms, start = start } end
    below = walk.next
  end
  walk.firsts = walk.firsts or claimed_chunks(walk.lane)
  for _, first in ipairs(walk.firsts) do
    if first < below then
      local text, count, ms, start = m.read_chunk(walk.lane, first)
      if text then return { first = first, text = text, count = count, ms = ms, start = start } end
    end
  end
  return nil
end

local function state_within(walk, pieces, offset)
  local place = m.pad(walk.lane, offset)
  if walk.taken_out and call('ZSCORE', base .. ':t', place) then return 'moved' end
  if offset >= walk.next then return 'waiting' end
  for i = 1, #pieces, 4 do
    if offset >= pieces[i] and offset <= pieces[i + 1] then
      return pieces[i + 3] > 0 and 'completed' or 'moved',
        { began = pieces[i + 2], ended = pieces[i + 3] }
    end
  end
  return 'running'
end

local function look_at_plain(walk, chunk, records, pieces, offset)
  looks = looks + 1
  local state, piece = state_within(walk, pieces, offset)
  if not m.shown[state] or want.status ~= '' and state ~= want.status then return end
  local record = records[offset - chunk.first + 1]
  if named(record) and in_time(chunk.ms) then
    found[#found + 1] = m.plain_snapshot(walk.lane, offset, state, chunk, piece)
  end
end

-- Rows of a lane below an offset, descending, one at a time.
local function row_reader(lane, below)
  local rows, at = {}, 1
  return {
    peek = function()
      if not rows[at] and below then
        local top, bottom = '(' .. m.pad(lane, below), '[' .. m.pad(lane, 0)
        rows = call('ZREVRANGEBYLEX', base .. ':rows', top, bottom, 'LIMIT', 0, 200)
        at = 1
        below = nil
        if rows[200] then
          local _, lowest = m.unpad(rows[200])
          below = lowest
        end
      end
      return rows[at]
    end,
    skip = function() at = at + 1 end,
  }
end

-- Answers with the offset where the limit was reached, or nil at the end of the lane.
local function list_lane(lane, below)
  local of = m.name_of(lane)
  if not of or want.tenant ~= '' and of[2] ~= want.tenant then return nil end
  local at = m.lane(lane)
  local walk = { lane = lane, next = at.next, taken_out = m.exists(':t') }
  below = math.min(below, at.head + 1)
  local rows = row_reader(lane, below)
  local function rows_down_to(offset)
    while rows.peek() do
      local _, at = m.unpad(rows.peek())
      if at < offset then return nil end
      look_at_row(rows.peek())
      rows.skip()
      if is_over() then return at end
    end
    return nil
  end
  local plain = of[4] and want.fingerprint == '' and (want.key == '\1' or of[3] == want.key)
  while plain and below > 1 do
    local chunk = next_chunk(walk, below)
    if not chunk then break end
    local records, pieces = {}, m.read_pieces(lane, chunk.first)
    for record in string.gmatch(string.sub(chunk.text, chunk.start), '[^\30]+') do
      records[#records + 1] = record
    end
    for offset = math.min(below - 1, chunk.first + chunk.count - 1), chunk.first, -1 do
      local stop = rows_down_to(offset)
      if stop then return stop end
      if call('EXISTS', m.row_key(lane .. '-' .. offset)) == 0 then
        look_at_plain(walk, chunk, records, pieces, offset)
      end
      if is_over() then return offset end
    end
    below = chunk.first
  end
  return rows_down_to(0)
end

local function list_by_lane()
  local top = after_lane == '' and '+inf' or after_lane
  local lanes = call('ZREVRANGEBYSCORE', base .. ':ln', top, '-inf', 'LIMIT', 0, lanes_max)
  for _, lane in ipairs(lanes) do
    local below = lane == after_lane and tonumber(after_offset) or 1e15
    local stop = list_lane(tonumber(lane), below)
    if stop then return { lane, string.format('%d', stop), '', 0, found } end
  end
  if #lanes < lanes_max then return { '', '', '', 1, found } end
  return { lanes[#lanes], '0', '', 0, found }
end

local by_lane = want.status == '' or m.shown[want.status] or want.fingerprint ~= ''
return by_lane and list_by_lane() or list_by_time()
