-- An epoch works on one more queue. Arguments: epoch, queue. Answer: 1, or 0 when it is not alive.
if call('HEXISTS', base .. ':workers', ARGV[1]) == 0 then return 0 end
call('SADD', base .. ':queues', ARGV[2])
call('SADD', base .. ':wq:' .. ARGV[1], ARGV[2])
return 1
