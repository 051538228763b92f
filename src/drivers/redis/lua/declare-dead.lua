-- Declares epochs dead. Arguments: an epoch that retires, or '' for all that are silent; ms after
-- which one that was declared dead before is taken over from whoever did not finish.
-- Answer: for each epoch declared now, or long ago by somebody who did not finish: epoch, 1 if it
-- was silent, 1 if it was declared now, its queues. Until `forget-worker` others find them here.
local takeover_ms = tonumber(ARGV[2])
local found = {}

local function add(epoch, silent, new)
  call('HSET', base .. ':dying', epoch, now .. ' ' .. silent)
  found[#found + 1] = { tonumber(epoch), silent, new, call('SMEMBERS', base .. ':wq:' .. epoch) }
end

local function bury(epoch, silent)
  call('HDEL', base .. ':workers', epoch)
  call('HDEL', base .. ':beats', epoch)
  add(epoch, silent, 1)
end

if ARGV[1] ~= '' then
  if call('HEXISTS', base .. ':workers', ARGV[1]) == 1 then bury(ARGV[1], 0) end
  return found
end
local dying = call('HGETALL', base .. ':dying')
for i = 1, #dying, 2 do
  local since, silent = string.match(dying[i + 1], '^(%d+) (%d)$')
  if now - tonumber(since) > takeover_ms then add(dying[i], tonumber(silent), 0) end
end
local workers = call('HGETALL', base .. ':workers')
for i = 1, #workers, 2 do
  local beat = call('HGET', base .. ':beats', workers[i]) or '0'
  local ttl = cjson.decode(workers[i + 1]).ttl
  if now - tonumber(string.match(beat, '^%d+')) > ttl then bury(workers[i], 1) end
end
return found
