-- How every script of a group goes on. ARGV[1] is the group.
local group = ARGV[1]
local g = base .. ':g:' .. group
local owners = g .. ':o'
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- An epoch is given once: with each taking of a partition and with each incarnation of a member.
local function next_epoch() return call('HINCRBY', owners, 'epoch', 1) end

local function tell(what)
  call('HINCRBY', owners, 'v', 1)
  call('XADD', g .. ':n', 'MAXLEN', 1, '*', 'change', what)
end

-- Partition -> member; those of members that are gone are left out.
local function holders()
  local found = {}
  local all = call('HGETALL', owners)
  for i = 1, #all, 2 do
    local p = tonumber(all[i])
    local member = p and string.match(all[i + 1], '^%d+ (.*)$')
    if member and call('ZSCORE', g .. ':m', member) then found[p] = member end
  end
  return found
end

local function has(p, epoch)
  local value = call('HGET', owners, p)
  return value and string.match(value, '^%d+') == epoch
end

local function drop(member)
  call('ZREM', g .. ':m', member)
  call('HDEL', g .. ':i', member)
  local all = call('HGETALL', owners)
  for i = 1, #all, 2 do
    if tonumber(all[i]) and string.match(all[i + 1], '^%d+ (.*)$') == member then
      call('HDEL', owners, all[i])
    end
  end
end
