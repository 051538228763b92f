-- Gives jobs to an epoch: the most urgent first; of one priority rows before lanes, as they have
-- waited longer, and of its lanes each in turn.
m.taken_rows, m.taken_pieces, m.held_pieces = {}, {}, { now }
m.has_rows, m.has_taken_out = false, false
m.limited = false

function m.note_limit(wait)
  if wait and (not m.limited or wait < m.limited) then m.limited = wait end
end

-- First offset from `offset` on that was taken out of the lane; `offset` itself or beyond `last`:
-- none.
function m.next_taken_out(lane, offset)
  if not m.has_taken_out then return nil end
  local from, beyond = '[' .. m.pad(lane, offset), '(' .. m.pad(lane + 1, 0)
  local found = call('ZRANGEBYLEX', base .. ':t', from, beyond, 'LIMIT', 0, 1)
  if not found[1] then return nil end
  local _, at = m.unpad(found[1])
  return at
end

-- Offsets from..to of a chunk, as the caller gets them; without text if it sent them just now.
function m.hand_out(lane, chunk, from, to)
  m.append(m.held_pieces, lane.id, chunk.first, chunk.count, from, to)
  local n = #m.taken_pieces
  m.taken_pieces[n + 1], m.taken_pieces[n + 2], m.taken_pieces[n + 3] = lane.id, from, to - from + 1
  m.taken_pieces[n + 4] = chunk.ms
  if not chunk.text then
    m.taken_pieces[n + 5] = ''
  elseif from == chunk.first and to == chunk.first + chunk.count - 1 then
    m.taken_pieces[n + 5] = string.sub(chunk.text, chunk.start)
  else
    m.taken_pieces[n + 5] = m.slice(chunk.text, chunk.start, from - chunk.first, to - from + 1)
  end
end

function m.chunk_at(lane, first)
  local size = lane.fresh and lane.fresh[first]
  if size then return { first = first, count = size, ms = now } end
  local text, count, ms, start = m.read_chunk(lane.id, first)
  return { first = first, text = text, count = count, ms = ms, start = start }
end

-- Takes up to `want` jobs off a lane; its chunks that are new in this call are in `fresh`, by size.
function m.take_plain(lane, want)
  local taken, passed, chunk = 0, 0, nil
  while taken < want and lane.next <= lane.head and passed < 1000 do
    if not chunk or chunk.first ~= lane.first then chunk = m.chunk_at(lane, lane.first) end
    local last = chunk.first + chunk.count - 1
    local out = m.next_taken_out(lane.id, lane.next)
    if out == lane.next then
      call('ZREM', base .. ':t', m.pad(lane.id, out))
      m.end_piece(lane.id, chunk.first, chunk.count, out, out, 0, 0)
      lane.next = out + 1
      passed = passed + 1
    else
      local to = math.min(last, lane.next + want - taken - 1, (out or lane.head + 1) - 1)
      m.hand_out(lane, chunk, lane.next, to)
      taken = taken + to - lane.next + 1
      lane.next = to + 1
    end
    if lane.next > last then lane.first = last + 1 end
  end
  m.change_lane(lane)
  m.bump('waiting', -taken)
  m.bump('running', taken)
  return taken
end

-- Lanes of one priority, beginning with the one behind the last that had its turn.
function m.in_turn(lanes)
  if #lanes < 2 then return lanes end
  local field = 'turn:' .. lanes[1].p
  local last = tonumber(call('HGET', base .. ':q', field) or 0)
  table.sort(lanes, function(a, b)
    if (a.id > last) ~= (b.id > last) then return a.id > last end
    return a.id < b.id
  end)
  return lanes
end

function m.take_lanes(lanes, max)
  lanes = m.in_turn(lanes)
  local keyed = q.keyed
  local taken, last = 0, nil
  local open = #lanes
  while taken < max and open > 0 do
    local share = math.ceil((max - taken) / open)
    open = 0
    for _, lane in ipairs(lanes) do
      if taken >= max then break end
      local want = math.min(share, max - taken, lane.head - lane.next + 1)
      if keyed and want > 0 then
        local room, wait = m.key_room(lane.scope)
        if room < want then m.note_limit(wait or 0) end
        want = math.min(want, room)
      end
      if want > 0 then
        local got = m.take_plain(lane, want)
        if keyed then m.key_take(lane.scope, got, got) end
        taken = taken + got
        last = lane.id
        if got == want and lane.next <= lane.head then open = open + 1 end
      end
    end
  end
  if last and #lanes > 1 then call('HSET', base .. ':q', 'turn:' .. lanes[1].p, last) end
  return taken
end

function m.queue_room()
  if not q.concurrency and not q.rate then return 1e9 end
  local tokens = q.rate and m.refill(q.rate, q.rateMs, q.tokens, q.countedAt)
  local room, wait = m.room_of(q.concurrency, q.running + q.rows, q.rate, q.rateMs, tokens)
  return room, wait, tokens
end

-- Takes up to max jobs from rows and from these lanes: groups of one priority, most urgent first.
-- Answers with the lanes in which jobs are left, and the ms until a row is due.
function m.take(claim_no, max, suspects, groups)
  local room, wait, tokens = m.queue_room()
  local left = math.min(max, room)
  if room < max then m.limited = wait or 0 end
  local due = nil
  if m.exists(':due', ':w', ':x') then
    due = m.promote_due()
    m.has_rows = m.exists(':w', ':x')
  end
  m.has_taken_out = m.exists(':t')
  local before = left
  for _, group in ipairs(groups) do
    if left <= 0 then break end
    if m.has_rows then left = left - m.take_rows(group[1].p, left, claim_no, suspects) end
    if left > 0 then left = left - m.take_lanes(group, left) end
  end
  if m.has_rows and left > 0 then left = left - m.take_rows('+inf', left, claim_no, suspects) end
  if m.has_rows and left == 0 and not m.limited and m.exists(':w', ':x') then due = 0 end
  if before > left and tokens then
    q.tokens, q.countedAt = tokens - (before - left), now
  end
  if #m.held_pieces > 1 then
    call('HSET', base .. ':h:' .. m.held_by, claim_no, cmsgpack.pack(m.held_pieces))
  end
  local lanes_left = {}
  for _, group in ipairs(groups) do
    for _, lane in ipairs(group) do
      if lane.next <= lane.head then lanes_left[#lanes_left + 1] = lane.id end
    end
  end
  return lanes_left, due
end
