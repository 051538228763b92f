-- Numbers for lanes, new ones for new lanes. Arguments: queue, then for each what the lane is named
-- by, as text. Answer: the numbers, in order.
local numbers = {}
call('SADD', base .. ':queues', ARGV[1])
for i = 2, #ARGV do
  local lane = call('HGET', base .. ':names', ARGV[i])
  if not lane then
    lane = call('INCR', base .. ':lane')
    call('HSET', base .. ':names', ARGV[i], lane)
    call('HSET', base .. ':lanes', lane, ARGV[i])
  end
  numbers[i - 1] = tonumber(lane)
end
return numbers
