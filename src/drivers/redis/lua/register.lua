-- A new epoch. Arguments: who it is (json), time to live in ms, queues. Answer: the epoch.
local epoch = call('INCR', base .. ':epoch')
call('HSET', base .. ':workers', epoch,
  cjson.encode({ who = ARGV[1], ttl = tonumber(ARGV[2]), startedAt = now }))
call('HSET', base .. ':beats', epoch, now .. ' 0 0')
for i = 3, #ARGV do
  call('SADD', base .. ':queues', ARGV[i])
  call('SADD', base .. ':wq:' .. epoch, ARGV[i])
end
return epoch
