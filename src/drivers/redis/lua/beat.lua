-- A worker lives. Arguments: epoch, running, concurrency. Answer: its queues; nothing when it is
-- dead.
if call('HEXISTS', base .. ':workers', ARGV[1]) == 0 then return false end
call('HSET', base .. ':beats', ARGV[1], now .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
return call('SMEMBERS', base .. ':wq:' .. ARGV[1])
