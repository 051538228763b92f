-- Gives rows to an epoch, in the order of priority, time and place.
m.suspect_taken = false

-- Rows that have become due wait from now on. Answers with the ms until the next one is due.
function m.promote_due()
  local due = call('ZRANGEBYSCORE', base .. ':due', '-inf', exact, 'LIMIT', 0, 500)
  for _, padded in ipairs(due) do
    local row = m.load_row(m.unpad(padded))
    if row then m.place(row, 'waiting', row.r) else call('ZREM', base .. ':due', padded) end
  end
  local first = call('ZRANGE', base .. ':due', 0, 0, 'WITHSCORES')
  return first[2] and math.max(0, math.ceil(tonumber(first[2]) - exact))
end

function m.waiting_rows(suffix, bound, max)
  local found = call('ZRANGEBYSCORE', base .. suffix, '-inf', bound, 'WITHSCORES', 'LIMIT', 0, max)
  local rows = {}
  for i = 1, #found, 2 do
    rows[#rows + 1] = { order = found[i], p = tonumber(found[i + 1]), suspect = suffix == ':x' }
  end
  return rows
end

-- Candidates in the order in which they may run; of suspects one is enough.
function m.row_candidates(bound, max, suspects)
  local rows = m.waiting_rows(':w', bound, max)
  if suspects then
    local suspected = m.waiting_rows(':x', bound, q.keyed and 100 or 1)
    for _, row in ipairs(suspected) do rows[#rows + 1] = row end
    table.sort(rows, function(a, b)
      if a.p ~= b.p then return a.p < b.p end
      return a.order < b.order
    end)
  end
  return rows
end

function m.take_row(row, claim_no)
  m.place(row, 'running', row.r)
  call('HSET', m.row_key(row.id), 's', now, 'ep', m.held_by, 'cn', claim_no)
  call('HDEL', base .. ':prog', row.id)
  call('HSET', base .. ':e:' .. m.held_by, row.id, claim_no)
  m.bump('rows', 1)
  m.taken_rows[#m.taken_rows + 1] = row
end

-- Takes rows of at most that priority number. Answers with how many.
function m.take_rows(bound, max, claim_no, suspects)
  local keyed = q.keyed
  local count = 0
  local look = keyed and math.max(max * 10, 1000) or max
  for _, candidate in ipairs(m.row_candidates(bound, look, suspects and not m.suspect_taken)) do
    if count >= max then break end
    if not (candidate.suspect and m.suspect_taken) then
      local row = m.load_row(m.unpad(string.sub(candidate.order, 15)))
      local scope = keyed and m.scope_of(row.t, row.k)
      local room, wait = 1, nil
      if keyed then room, wait = m.key_room(scope) end
      if room < 1 then
        m.note_limit(wait)
      else
        if keyed then m.key_take(scope, 1, 1) end
        m.take_row(row, claim_no)
        count = count + 1
        m.suspect_taken = m.suspect_taken or candidate.suspect
      end
    end
  end
  return count
end
