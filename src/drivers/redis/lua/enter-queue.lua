-- Lets an epoch work in this queue, unless it was declared dead here. Argument: epoch. Answer: 1 or
-- 0.
local alive = call('HGET', base .. ':alive', ARGV[1])
if not alive then call('HSET', base .. ':alive', ARGV[1], '1') end
return (not alive or alive == '1') and 1 or 0
