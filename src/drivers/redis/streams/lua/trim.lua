-- Removes from one partition what every group has acknowledged and, where the topic has a
-- retention, what is older than that as well. Whole nodes of the stream only, 10,000 entries at
-- most: a millisecond. Arguments: partition. Answer: how many are gone.
local key = stream(ARGV[1])
if call('EXISTS', key) == 0 then return 0 end
local floor_ms, floor_no
local function lower(ms, no)
  if not floor_ms or ms < floor_ms or (ms == floor_ms and no < floor_no) then
    floor_ms, floor_no = ms, no
  end
end
for _, info in ipairs(call('XINFO', 'GROUPS', key)) do
  local pending = info[6] > 0 and call('XPENDING', key, info[2])[2]
  local ms, no = string.match(pending or info[8], '^(%d+)-(%d+)$')
  lower(tonumber(ms), tonumber(no) + (pending and 0 or 1))
end
local retention = call('HGET', base .. ':t', 'retention')
if retention then
  local time = call('TIME')
  lower(time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(retention), 0)
end
if not floor_ms or floor_ms <= 0 then return 0 end
local floor = string.format('%.0f-%.0f', floor_ms, floor_no)
return call('XTRIM', key, 'MINID', '~', floor, 'LIMIT', 10000)
