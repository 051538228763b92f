-- A member goes. Arguments: group, member, its incarnation.
if call('HGET', g .. ':i', ARGV[2]) ~= ARGV[3] then return 0 end
drop(ARGV[2])
tell('leave')
return 1
