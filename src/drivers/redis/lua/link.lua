-- Links children of another queue to parents of this one. Arguments: base of the children's queue,
-- then parent, policy, child for each. Answer for each: 0 linked, 1 the parent has completed, 2 it
-- has failed: then the child is to be told.
local child_base = arg()
local answer = {}
while position < #ARGV do
  local parent, policy, child = arg(), arg(), arg()
  local outcome = m.outcome_of(m.parse_id(parent))
  if outcome == nil or (outcome == false and policy == 'wait') then
    m.add_link(parent, policy, child_base, child)
    answer[#answer + 1] = 0
  else
    if outcome then
      local lane, offset = m.parse_id(parent)
      call('ZADD', base .. ':keep', now, m.pad(lane, offset))
    end
    answer[#answer + 1] = outcome and 1 or 2
  end
end
return answer
