-- What was left undone in this queue, and clears away what is over. Arguments: age in ms from which
-- a child without links counts as forgotten. Answer: news in `:out`, then children to be linked,
-- each with its policy and its parents.
local day_ms = 86400000
local age_ms = number()
for _, field in ipairs(call('ZRANGEBYSCORE', base .. ':ut', '-inf', now, 'LIMIT', 0, 200)) do
  local left = {}
  for _, one in ipairs(m.unique_list(field)) do
    local status = call('HGET', m.row_key(one[1]), 'st')
    if one[2] > now or m.unfinished[status or ''] then left[#left + 1] = one end
  end
  m.save_unique(field, left)
  call('ZREM', base .. ':ut', field)
  for _, one in ipairs(left) do
    if one[2] > now then call('ZADD', base .. ':ut', one[2], field) end
  end
end
local epochs = call('HGETALL', base .. ':alive')
for i = 1, #epochs, 2 do
  local died = tonumber(epochs[i + 1])
  if died > 1 and now - died > day_ms then call('HDEL', base .. ':alive', epochs[i]) end
end
call('ZREMRANGEBYSCORE', base .. ':fired', '-inf', now - 30 * day_ms)

-- Some keys at random: of those whose tokens have come back nothing need be known.
local keys = call('HRANDFIELD', base .. ':ks', 200, 'WITHVALUES')
for i = 1, #keys, 2 do
  local running, _, at = struct.unpack('<ddd', keys[i + 1])
  if running == 0 and now - at >= (q.keyRateMs or 0) then
    call('HDEL', base .. ':ks', keys[i])
  end
end

local children = {}
local forgotten = call('ZRANGEBYSCORE', base .. ':links', '-inf', now - age_ms, 'LIMIT', 0, 100)
for _, id in ipairs(forgotten) do
  local row = m.load_row(m.parse_id(id))
  if not row or row.st ~= 'blocked' then
    call('ZREM', base .. ':links', id)
  else
    local child = { id, row.m }
    for _, field in ipairs(call('HKEYS', m.row_key(id))) do
      local parent = string.match(field, '^w:(.*)$')
      if parent then child[#child + 1] = parent end
    end
    children[#children + 1] = child
  end
end
return { call('LRANGE', base .. ':out', 0, 199), children }
