-- A member comes, or comes again under the same name: then what it had is free. Arguments: group,
-- member, ms to live, where a new group begins ('0' or '$'). Answer: its incarnation and how many
-- partitions there are; nothing when there is no such topic.
local count = partitions()
if not count then return false end
local member = ARGV[2]
for p = 0, count - 1 do
  local made = redis.pcall('XGROUP', 'CREATE', stream(p), group, ARGV[4], 'MKSTREAM')
  if made.err and string.sub(made.err, 1, 9) ~= 'BUSYGROUP' then return made end
end
call('SADD', base .. ':g', group)
drop(member)
local incarnation = next_epoch()
call('HSET', g .. ':i', member, incarnation)
call('ZADD', g .. ':m', now + ARGV[3], member)
tell('join')
return { incarnation, count }
