-- Changes settings. Arguments: '1' when limits are among them, then name and value ('' removes) of
-- each. What began before a limit of keys was set is counted now; tokens stay while their rate
-- does: each process may set its limits when it starts.
local limits = arg() == '1'
local function as_before(...)
  for i, value in ipairs(call('HMGET', base .. ':q', ...)) do
    if tonumber(value or nil) ~= q[({ ... })[i]] then return false end
  end
  return true
end
while position < #ARGV do
  local name, value = arg(), arg()
  if value == '' then
    call('HDEL', base .. ':q', name)
  elseif name == 'paused' then
    call('HSETNX', base .. ':q', name, now)
  else
    call('HSET', base .. ':q', name, value)
  end
end
if not limits then return 'ok' end
if not as_before('rate', 'rateMs') then call('HDEL', base .. ':q', 'tokens', 'countedAt') end
local running, tokens = {}, {}
if q.keyRate and as_before('keyRate', 'keyRateMs') then
  local states = call('HGETALL', base .. ':ks')
  for i = 1, #states, 2 do
    local _, left, at = struct.unpack('<ddd', states[i + 1])
    if left >= 0 then running[states[i]], tokens[states[i]] = 0, { left, at } end
  end
end
call('DEL', base .. ':ks')
local counts = call('HGET', base .. ':q', 'keyConcurrency')

local function add(tenant, key, jobs)
  if not counts then return end
  local scope = tenant .. '\31' .. key
  running[scope] = (running[scope] or 0) + jobs
end
for lane, pieces in pairs(m.pieces_held()) do
  local of = m.name_of(lane)
  for _, piece in ipairs(pieces) do add(of[2], of[3], piece.to - piece.from + 1) end
end
for _, epoch in ipairs(call('HKEYS', base .. ':alive')) do
  for _, id in ipairs(call('HKEYS', base .. ':e:' .. epoch)) do
    local tenant, key = unpack(call('HMGET', base .. ':j:' .. id, 't', 'k'))
    if tenant then add(tenant, key, 1) end
  end
end
for scope, jobs in pairs(running) do
  local left, at = unpack(tokens[scope] or { -1, now })
  call('HSET', base .. ':ks', scope, struct.pack('<ddd', jobs, left, at))
end
return 'ok'
