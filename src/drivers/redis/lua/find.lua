-- Jobs by their places. Arguments: lane, offset of each. Answer: a snapshot of each, or 0.
local answer = {}
while position < #ARGV do
  local lane, offset = number(), number()
  answer[#answer + 1] = m.snapshot(lane, offset) or 0
end
return answer
