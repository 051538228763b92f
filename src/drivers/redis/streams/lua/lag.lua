-- How far a group is behind in each partition. Arguments: group. Answer: nothing when there is no
-- such topic; else of each partition the number of entries that were given to nobody, of those that
-- were not acknowledged, and, where the server cannot say the first (-1), from where to count.
local count = partitions()
if not count then return false end
local answer = {}
for p = 0, count - 1 do
  local key = stream(p)
  local entry = { call('XLEN', key), 0, '' }
  local groups = call('EXISTS', key) == 1 and call('XINFO', 'GROUPS', key) or {}
  for _, info in ipairs(groups) do
    if info[2] == ARGV[1] then entry = { info[12] or -1, info[6], info[8] } end
  end
  answer[p + 1] = entry
end
return answer
