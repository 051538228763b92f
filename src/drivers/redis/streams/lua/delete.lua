-- Removes a topic with all of its groups.
for p = 0, (partitions() or 0) - 1 do call('UNLINK', stream(p)) end
for _, group in ipairs(call('SMEMBERS', base .. ':g')) do
  local g = base .. ':g:' .. group
  call('UNLINK', g .. ':m', g .. ':i', g .. ':o', g .. ':n')
end
call('UNLINK', base .. ':g', base .. ':t')
return 1
