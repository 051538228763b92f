-- Tells children of this queue how parents of other queues ended. Safe to repeat. Arguments: number
-- of news, and of each child, parent, '1' when it completed; then children that are linked to all
-- of their parents. Answer: 1 when `:out` has news, 1 when jobs wait now.
local waiting = call('ZCARD', base .. ':w')
for _ = 1, number() do
  local child, parent, completed = arg(), arg(), arg() == '1'
  m.parent_ended(child, parent, completed)
end
while position < #ARGV do call('ZREM', base .. ':links', arg()) end
m.save()
return { m.news, call('ZCARD', base .. ':w') > waiting and 1 or 0 }
