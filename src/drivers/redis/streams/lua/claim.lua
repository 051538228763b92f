-- The pending entries of a partition, whoever had them, in order. Arguments: group, member,
-- partition, its epoch, where to begin, how many. Answer: nothing when the partition is not the
-- member's; else where to go on ('' at the end), up to where the group has been given entries, and
-- the entries. At the end consumers of former members that have nothing left are removed.
local member, p = ARGV[2], ARGV[3]
if not has(p, ARGV[4]) then return false end
local key = stream(p)
local found = call('XAUTOCLAIM', key, group, member, 0, ARGV[5], 'COUNT', ARGV[6])
local last = '0-0'
local ended = found[1] == '0-0'
if ended then
  for _, info in ipairs(call('XINFO', 'GROUPS', key)) do
    if info[2] == group then last = info[8] end
  end
  for _, info in ipairs(call('XINFO', 'CONSUMERS', key, group)) do
    if info[2] ~= member and info[4] == 0 then
      call('XGROUP', 'DELCONSUMER', key, group, info[2])
    end
  end
end
return { ended and '' or found[1], last, found[2] }
