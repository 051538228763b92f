-- Inserts or replaces a schedule. KEYS[1] is `{prefix:schedules}`:
--   :all  tenant, name -> the schedule (hash of json)    :next  those that will fire, by time in ms
--   :revision  the last one given    :fired  ticks, by when they fired    :out  tick -> job (json)
-- Arguments: field (tenant, name), tenant, name, rule, job, '1' when paused, next and last tick
-- (ISO 8601 or ''), next tick in ms ('' for none). Answer: revision, last tick: it never goes back.
local call = redis.call
local base = KEYS[1]
local field, tenant, name, rule, job, paused, next_at, last_at, next_ms = unpack(ARGV)
local before = call('HGET', base .. ':all', field)
if before then
  local known = cjson.decode(before).lastAt
  if known > last_at then last_at = known end
end
local revision = call('INCR', base .. ':revision')
call('HSET', base .. ':all', field, cjson.encode({
  tenantId = tenant, name = name, ruleJson = rule, job = job, paused = paused == '1',
  nextAt = next_at, lastAt = last_at, revision = revision,
}))
if paused == '1' or next_ms == '' then
  call('ZREM', base .. ':next', field)
else
  call('ZADD', base .. ':next', next_ms, field)
end
return { revision, last_at }
