-- Changes settings. Arguments: '1' when limits are among them, then name and value ('' removes) of
-- each. What began before a limit of keys was set is counted now.
local limits = arg() == '1'
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
call('HDEL', base .. ':q', 'tokens', 'countedAt')
call('DEL', base .. ':ks')
if not call('HGET', base .. ':q', 'keyConcurrency') then return 'ok' end

local running = {}
local function add(tenant, key, jobs)
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
  call('HSET', base .. ':ks', scope, struct.pack('<ddd', jobs, -1, now))
end
return 'ok'
