-- Schedules that shall fire, the oldest tick first, then by tenant and name. Arguments: now in ms
-- by the scheduler's clock, how many at most. Answer: json of each.
local fields = redis.call('ZRANGEBYSCORE', KEYS[1] .. ':next', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
if #fields == 0 then return {} end
return redis.call('HMGET', KEYS[1] .. ':all', unpack(fields))
