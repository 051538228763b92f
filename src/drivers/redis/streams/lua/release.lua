-- A member gives up partitions. Arguments: group, then partition and epoch of each.
for i = 2, #ARGV, 2 do
  if has(ARGV[i], ARGV[i + 1]) then call('HDEL', owners, ARGV[i]) end
end
tell('release')
return 1
