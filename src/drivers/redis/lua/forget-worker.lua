-- All jobs of a dead epoch wait again. Argument: epoch.
call('HDEL', base .. ':dying', ARGV[1])
call('DEL', base .. ':wq:' .. ARGV[1])
return 'ok'
