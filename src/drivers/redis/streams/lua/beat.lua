-- A member lives, the dead are found, and free partitions are shared. Arguments: group, member, its
-- incarnation, ms to live. Answer: nothing when another one goes by its name; an empty one when it
-- was declared dead or the topic is gone; else the version, how many partitions it has, each with
-- its epoch, and those of them that it shall give up. Everybody has the same share give or take
-- one, and whoever has most already is the one to have one more, so that few move.
local member = ARGV[2]
local incarnation = call('HGET', g .. ':i', member)
if not incarnation then return {} end
if incarnation ~= ARGV[3] then return false end
call('ZADD', g .. ':m', now + ARGV[4], member)
for _, dead in ipairs(call('ZRANGEBYSCORE', g .. ':m', '-inf', now)) do
  drop(dead)
  tell('dead')
end
local count = partitions()
if not count then return {} end
local members = call('ZRANGE', g .. ':m', 0, -1)
local held, mine, taken = {}, {}, holders()
for _, name in ipairs(members) do held[name] = 0 end
for p = 0, count - 1 do
  local holder = taken[p]
  if holder then held[holder] = held[holder] + 1 end
  if holder == member then mine[#mine + 1] = p end
end
table.sort(members, function(a, b)
  if held[a] ~= held[b] then return held[a] > held[b] end
  return a < b
end)
local share = math.floor(count / #members)
for i = 1, count % #members do
  if members[i] == member then share = share + 1 end
end
for p = 0, count - 1 do
  if #mine < share and not taken[p] then
    call('HSET', owners, p, next_epoch() .. ' ' .. member)
    mine[#mine + 1] = p
  end
end
local answer = { tonumber(call('HGET', owners, 'v')), #mine }
for _, p in ipairs(mine) do
  answer[#answer + 1] = p
  answer[#answer + 1] = tonumber(string.match(call('HGET', owners, p), '^%d+'))
end
for i = share + 1, #mine do answer[#answer + 1] = mine[i] end
return answer
