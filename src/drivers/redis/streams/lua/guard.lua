-- Stands between WATCH of the owners (KEYS[1]) and MULTI: when one of the partitions is not ours any
-- more it touches the key, and EXEC reads nothing. So no member takes entries, which would then come
-- to nobody in their order, of a partition that it lost while it slept. Touching must succeed on a
-- server without memory as well: EXPIRE does. Arguments: partition and epoch of each. Answer: the
-- version, then the partitions that are lost.
local answer = { tonumber(redis.call('HGET', KEYS[1], 'v') or 0) }
for i = 1, #ARGV, 2 do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if not value or string.match(value, '^%d+') ~= ARGV[i + 1] then
    answer[#answer + 1] = tonumber(ARGV[i])
  end
end
if #answer > 1 then
  redis.call('EXPIRE', KEYS[1], 1000000)
  redis.call('PERSIST', KEYS[1])
end
return answer
