-- The hot call: settle, enqueue, claim.
-- Sent twice it happens once: whichever try comes first does it, and all are answered the same.
-- Arguments: epoch ('' for none), id of the enqueue, completed jobs to keep; number of the claim
-- ('' for none), jobs at most, '1' when suspects may come; number of lanes, and of each lane, jobs,
-- number of chunks, then size and text of each; number of lanes to claim from, lanes; '1' and a
-- settlement (settle.lua), or '0'.
-- Answer: 'ok', first offset in each lane, pieces of lanes (lane, from, size, ms, text), rows
-- (lane, offset, tenant, key, priority, enqueued, ordering time, failures, crashes, record), lanes
-- left, ms until a row is due (-1: none), ms of a limit (-1: none), 1 when paused, 1 when `:out`
-- has news.
-- Or 'lost', 'unknown' (epoch), 'lanes' (not known here), 'full' and the limit: nothing happened.
local epoch_no, enqueue_id = arg(), arg()
m.history_max = number()
local claim_no, claim_max, suspects = arg(), number(), arg() == '1'

local batches, claim_lanes, named = {}, {}, {}

local function name_lane(lane)
  if m.names[lane] == nil then
    m.names[lane] = false
    named[#named + 1] = lane
  end
end

local function read_batches()
  local jobs = 0
  for i = 1, number() do
    local batch = { lane = number(), jobs = number(), chunks = number(), at = position }
    position = position + 2 * batch.chunks
    batches[i] = batch
    jobs = jobs + batch.jobs
    name_lane(batch.lane)
  end
  return jobs
end

local function enqueue_batch(batch)
  local lane = m.lane(batch.lane)
  batch.first = lane.head + 1
  lane.fresh = {}
  local fields = {}
  for i = 1, batch.chunks do
    local size = tonumber(ARGV[batch.at + 2 * i - 1])
    fields[2 * i - 1] = lane.head + 1
    fields[2 * i] = string.format('%d %d\n', size, now) .. ARGV[batch.at + 2 * i]
    lane.fresh[lane.head + 1] = size
    lane.head = lane.head + size
  end
  m.in_parts('HSET', base .. ':b:' .. batch.lane, fields)
  m.change_lane(lane)
end

local function enqueue_batches(jobs)
  local firsts = {}
  for i, batch in ipairs(batches) do
    enqueue_batch(batch)
    firsts[i] = string.format('%d', batch.first)
  end
  m.bump('waiting', jobs)
  m.save_answer(enqueue_id, table.concat(firsts, ' '))
  return firsts
end

-- Lanes with jobs: those named and those of this enqueue.
local function open_lanes()
  local lanes, seen = {}, {}
  for _, batch in ipairs(batches) do claim_lanes[#claim_lanes + 1] = batch.lane end
  for _, number_of_lane in ipairs(claim_lanes) do
    local name = not seen[number_of_lane] and m.name_of(number_of_lane)
    local lane = name and name[4] and m.lane(number_of_lane)
    if lane and lane.next <= lane.head then lanes[#lanes + 1] = lane end
    seen[number_of_lane] = true
  end
  return lanes
end

-- The same in groups of one priority, the most urgent first.
local function claim_groups()
  local lanes = open_lanes()
  local groups, by_priority, scopes = {}, {}, {}
  for i, lane in ipairs(lanes) do
    local of = m.name_of(lane.id)
    lane.p, lane.scope = of[1], q.keyed and m.scope_of(of[2], of[3])
    scopes[i] = lane.scope
    local group = by_priority[lane.p]
    if not group then
      group = {}
      by_priority[lane.p] = group
      groups[#groups + 1] = group
    end
    group[#group + 1] = lane
  end
  if q.keyed then m.load_keys(scopes) end
  table.sort(groups, function(a, b) return a[1].p < b[1].p end)
  return groups
end

-- What an earlier try of this claim got and still holds.
local function answer_claim()
  local text = call('HGET', base .. ':h:' .. m.held_by, claim_no)
  local pieces = text and cmsgpack.unpack(text) or {}
  for i = 2, #pieces, 5 do
    local lane, first, from, to = pieces[i], pieces[i + 1], pieces[i + 3], pieces[i + 4]
    local chunk_text, _, ms, start = m.read_chunk(lane, first)
    local n = #m.taken_pieces
    m.taken_pieces[n + 1], m.taken_pieces[n + 2], m.taken_pieces[n + 3] = lane, from, to - from + 1
    m.taken_pieces[n + 4] = ms
    m.taken_pieces[n + 5] = m.slice(chunk_text, start, from - first, to - from + 1)
  end
  local rows = call('HGETALL', base .. ':e:' .. m.held_by)
  for i = 1, #rows, 2 do
    if rows[i + 1] == claim_no then
      local row = m.load_row(m.parse_id(rows[i]))
      if row and row.st == 'running' then m.taken_rows[#m.taken_rows + 1] = row end
    end
  end
end

local function row_answers()
  local answers = {}
  for i, row in ipairs(m.taken_rows) do
    answers[i] = {
      row.lane, row.offset, row.t, row.k, row.p, row.e, row.r, row.f, row.c,
      call('HGET', base .. ':data', row.id),
    }
  end
  return answers
end

local jobs = read_batches()
for i = 1, number() do
  claim_lanes[i] = number()
  name_lane(claim_lanes[i])
end
m.load_names(named)
m.load_lanes(named)
local settles = arg() == '1'
local claims_now = claim_no ~= ''

m.calm = not m.exists(':due', ':w', ':x', ':t', ':kids', ':res', ':prog', ':xc:' .. epoch_no)
if settles or claims_now then
  local alive = call('HGET', base .. ':alive', epoch_no)
  if alive ~= '1' then return { alive and 'lost' or 'unknown' } end
  m.hold_for(epoch_no)
end
local answer = jobs > 0 and m.answer_to(enqueue_id)
if jobs > 0 and not answer then
  for _, batch in ipairs(batches) do
    if not m.name_of(batch.lane) then return { 'lanes' } end
  end
  if m.is_full(jobs) then return { 'full', q.lengthMax } end
end

if settles then m.settle(claim_no) end
local firsts = {}
if answer then
  for first in string.gmatch(answer, '%d+') do firsts[#firsts + 1] = first end
elseif jobs > 0 then
  firsts = enqueue_batches(jobs)
end
local lanes_left, due = {}, nil
if claims_now then
  local last = call('HGET', base .. ':last', epoch_no)
  if last and tonumber(last) >= tonumber(claim_no) then
    answer_claim()
    lanes_left, due = claim_lanes, 0
  elseif q.paused then
    lanes_left = claim_lanes
  else
    call('HSET', base .. ':last', epoch_no, claim_no)
    lanes_left, due = m.take(claim_no, claim_max, suspects, claim_groups())
  end
end
m.trim_history(m.history_max)
m.save()
return {
  'ok', firsts, m.taken_pieces, row_answers(), lanes_left, due or -1, m.limited or -1,
  q.paused and 1 or 0, rawget(m, 'news') or 0,
}
