-- A new epoch. Arguments: who it is (json), time to live in ms, queues. Answer: the epoch. It is the
-- time in seconds or more, so that it is new even if a failover has lost the last ones given.
local last = tonumber(call('GET', base .. ':epoch') or 0)
local epoch = math.max(last + 1, math.floor(now / 1000))
call('SET', base .. ':epoch', epoch)
call('HSET', base .. ':workers', epoch,
  cjson.encode({ who = ARGV[1], ttl = tonumber(ARGV[2]), startedAt = now }))
call('HSET', base .. ':beats', epoch, now .. ' 0 0')
for i = 3, #ARGV do
  call('SADD', base .. ':queues', ARGV[i])
  call('SADD', base .. ':wq:' .. epoch, ARGV[i])
end
return epoch
