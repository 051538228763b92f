-- Makes a topic. Arguments: partitions, retention in ms or ''. Answer: how many partitions it has.
local count = partitions()
if count then return count end
call('HSET', base .. ':t', 'partitions', ARGV[1])
if ARGV[2] ~= '' then call('HSET', base .. ':t', 'retention', ARGV[2]) end
return tonumber(ARGV[1])
