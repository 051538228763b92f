-- Enqueues jobs with a row each, all of them or none.
-- Arguments: id of the enqueue, 'tick' when the id is a schedule's tick or
-- 'probe' to look only whether it would be refused, number of jobs, and of each lane, priority,
-- tenant, key, record, delay in ms, unique mode ('' for none), unique key, window in ms, policy for
-- failed parents, number of parents, and of each its id and '1' when it is of another queue: such
-- links the caller makes next (see `link.lua`).
-- Answer: 'ok', 1 when `:out` has news, then lane, offset, 1 if duplicate of each job.
-- Or 'duplicate' and the job that has the key, 'full' and the limit, 'lanes': nothing was stored.
local enqueue_id, kind = arg(), arg()
local is_tick = kind == 'tick'
local answer = { 'ok', 0 }
local replaceable = { waiting = true, delayed = true, retrying = true, blocked = true }

local function read_job()
  local job = {
    lane = number(), p = number(), t = arg(), k = arg(), record = arg(), delay = number(),
    mode = arg(), u = arg(), window = number(), policy = arg(), parents = {},
  }
  for i = 1, number() do job.parents[i] = { id = arg(), foreign = arg() == '1' } end
  if job.mode == 'debounce' then job.delay = math.max(job.delay, job.window) end
  if job.mode ~= '' then job.field = job.t .. '\31' .. job.u end
  return job
end

-- The job that a unique key leads to by this mode, if any. Who holds it no more is struck out.
local function holder_of(field, mode)
  local list, left, found = m.unique_list(field), {}, nil
  for _, one in ipairs(list) do
    local row = m.load_row(m.parse_id(one[1]))
    local open = row and m.unfinished[row.st]
    if open or one[2] > now then left[#left + 1] = one end
    local holds = open
    if mode == 'throttle' then holds = one[2] > now end
    if mode == 'replace' or mode == 'debounce' then holds = row and replaceable[row.st] end
    if holds and (not found or not row or row.r >= found.r) then
      found = row or { id = one[1], r = 0 }
    end
  end
  if #left < #list then m.save_unique(field, left) end
  return found
end

local function replace(row, job)
  m.leave(row)
  row.p, row.k = job.p, job.k
  call('HSET', m.row_key(row.id), 'p', job.p, 'k', job.k, 'f', 0)
  call('HDEL', m.row_key(row.id), 'fp')
  call('HDEL', base .. ':err', row.id)
  call('HSET', base .. ':data', row.id, job.record)
  local blocked = row.st == 'blocked'
  row.st = nil
  local at = m.after(job.delay)
  if blocked then m.place(row, 'blocked', at) else m.place_by_time(row, 'delayed', at) end
end

-- Waits for parents that have not come to their end. Answers false when one failed and that
-- cancels.
local function wait_for_parents(row, job)
  local sound, foreign = true, false
  for _, parent in ipairs(job.parents) do
    local outcome = nil
    if not parent.foreign then
      outcome = m.outcome_of(m.parse_id(parent.id))
      if outcome == false and job.policy == 'cancel' then sound = false end
      if outcome == false and job.policy == 'run' then outcome = true end
    end
    if not outcome and call('HSET', m.row_key(row.id), 'w:' .. parent.id, 1) == 1 then
      row.pl = row.pl + 1
      if parent.foreign then foreign = true else m.add_link(parent.id, job.policy, base, row.id) end
    end
  end
  call('HSET', m.row_key(row.id), 'm', job.policy, 'pl', row.pl)
  if foreign then call('ZADD', base .. ':links', now, row.id) end
  return sound
end

local function store(job)
  local at = m.lane(job.lane)
  local offset = at.head + 1
  at.head, at.next, at.first = offset, offset + 1, offset + 1
  m.change_lane(at)
  local row = m.new_row(job.lane, offset, job, job.record, now)
  row.r = m.after(job.delay)
  if job.field then
    row.u, row.ut = job.u, job.mode == 'throttle' and math.ceil(m.after(job.window)) or 0
    call('HSET', m.row_key(row.id), 'u', row.u, 'ut', row.ut)
    local list = m.unique_list(job.field)
    list[#list + 1] = { row.id, row.ut }
    m.save_unique(job.field, list)
    if row.ut > 0 then call('ZADD', base .. ':ut', row.ut, job.field) end
  end
  local sound = #job.parents == 0 or wait_for_parents(row, job)
  if sound and row.pl == 0 then
    m.place_by_time(row, 'delayed', row.r)
  else
    m.place(row, 'blocked', row.r)
  end
  if not sound then
    m.cancel_with_parent(row, 'A job that it depends on')
  end
  return row.id
end

local function add(id, duplicate)
  local lane, offset = m.parse_id(id)
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3] = lane, offset, duplicate
end

if is_tick and call('ZSCORE', base .. ':fired', enqueue_id) then return answer end
local known = m.answer_to(enqueue_id)
if known then
  for id, duplicate in string.gmatch(known, '(%S+):(%d)') do add(id, tonumber(duplicate)) end
  return answer
end

local jobs, seen = {}, {}
for i = 1, number() do
  local job = read_job()
  jobs[i] = job
  if not m.name_of(job.lane) then return { 'lanes' } end
  if job.mode == 'reject' then
    local found = holder_of(job.field, job.mode)
    if found or seen[job.field] then return { 'duplicate', found and found.id or '', job.u } end
  end
  if job.field then seen[job.field] = true end
end
if m.is_full(#jobs) then return { 'full', q.lengthMax } end
if kind == 'probe' then return answer end

local texts = {}
for i, job in ipairs(jobs) do
  local found = job.field and holder_of(job.field, job.mode)
  if found and (job.mode == 'replace' or job.mode == 'debounce') then replace(found, job) end
  local id = found and found.id or store(job)
  add(id, found and 1 or 0)
  texts[i] = id .. ':' .. (found and 1 or 0)
end
m.save_answer(enqueue_id, table.concat(texts, ' '))
if is_tick then call('ZADD', base .. ':fired', now, enqueue_id) end
m.save()
answer[2] = m.news
return answer
