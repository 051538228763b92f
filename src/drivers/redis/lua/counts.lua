-- How many jobs there are of each status, in the order of the arguments.
local answer = {}
local plain = { waiting = q.waiting, running = q.running - q.cancelled, completed = q.kept }
for i, status in ipairs(ARGV) do
  answer[i] = call('ZCARD', base .. ':i:' .. status) + (plain[status] or 0)
end
return answer
