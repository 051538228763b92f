-- Counts entries of a partition after an id. Arguments: partition, id. Answer: how many of the next
-- 1,000, and the last one's id.
local found = call('XRANGE', stream(ARGV[1]), '(' .. ARGV[2], '+', 'COUNT', 1000)
return { #found, #found > 0 and found[#found][1] or ARGV[2] }
