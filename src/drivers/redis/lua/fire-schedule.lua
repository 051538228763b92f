-- Moves a schedule on and puts the jobs of its ticks into `:out`, if the revision is the newest;
-- each tick once ever (within 30 days). Keys as in save-schedule.lua.
-- Arguments: field, revision, next and last tick (ISO 8601 or ''), next tick in ms (''), then for
-- each tick its id and its job (json). Answer: 1, or 0 when somebody was faster.
local call = redis.call
local base = KEYS[1]
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local field, revision, next_at, last_at, next_ms = unpack(ARGV)
local text = call('HGET', base .. ':all', field)
if not text then return 0 end
local schedule = cjson.decode(text)
if schedule.revision ~= tonumber(revision) then return 0 end
schedule.nextAt, schedule.lastAt = next_at, last_at
schedule.revision = call('INCR', base .. ':revision')
call('HSET', base .. ':all', field, cjson.encode(schedule))
if schedule.paused or next_ms == '' then
  call('ZREM', base .. ':next', field)
else
  call('ZADD', base .. ':next', next_ms, field)
end
for i = 6, #ARGV, 2 do
  if call('ZADD', base .. ':fired', 'NX', now, ARGV[i]) == 1 then
    call('RPUSH', base .. ':out', cjson.encode({ id = ARGV[i], job = ARGV[i + 1] }))
  end
end
call('ZREMRANGEBYSCORE', base .. ':fired', '-inf', now - 30 * 86400000)
return 1
