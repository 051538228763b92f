-- Entries are done. Arguments: group, then of each partition its number, epoch, how many, and their
-- ids. Answer: the partitions that are not the member's any more, of which nothing was done.
local lost = {}
local position = 2
while position <= #ARGV do
  local p, epoch, count = ARGV[position], ARGV[position + 1], tonumber(ARGV[position + 2])
  local first, last = position + 3, position + 2 + count
  position = last + 1
  if has(p, epoch) then
    for from = first, last, 1000 do
      call('XACK', stream(p), group, unpack(ARGV, from, math.min(last, from + 999)))
    end
  else
    lost[#lost + 1] = tonumber(p)
  end
end
return lost
