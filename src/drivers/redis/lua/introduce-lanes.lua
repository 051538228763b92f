-- Makes lanes known in the slot of their queue, where scripts read what they are. Safe to repeat.
-- Arguments: for each lane, priority, tenant, key, '1' when it is claimed by range. Answer: 'ok',
-- or 'taken' and a number that stands for another lane here: the registry has lost its newest
-- writes.
while position < #ARGV do
  local lane, priority, tenant, key, by_range = arg(), number(), arg(), arg(), arg() == '1'
  local text = cmsgpack.pack({ priority, tenant, key, by_range })
  local known = call('HGET', base .. ':lanes', lane)
  if known and known ~= text then return { 'taken', lane } end
  if not known then
    call('HSET', base .. ':lanes', lane, text)
    call('ZADD', base .. ':ln', lane, lane)
  end
end
return { 'ok' }
