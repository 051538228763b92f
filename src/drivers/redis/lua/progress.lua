-- Notes how far running jobs are. Arguments: lane, offset, json of each.
while position < #ARGV do
  local lane, offset, json = number(), number(), arg()
  local id = lane .. '-' .. offset
  local status = call('HGET', base .. ':j:' .. id, 'st') or m.plain_state(lane, offset)
  if status == 'running' then call('HSET', base .. ':prog', id, json) end
end
return 'ok'
