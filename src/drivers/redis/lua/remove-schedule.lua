-- Argument: field. Answer: 1 if it was there. What it has fired is remembered.
redis.call('ZREM', KEYS[1] .. ':next', ARGV[1])
return redis.call('HDEL', KEYS[1] .. ':all', ARGV[1])
