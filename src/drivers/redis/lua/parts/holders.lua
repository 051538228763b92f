-- Who holds plain jobs, by looking at what every epoch holds: for readers and for verbs only.
function m.pieces_held()
  local found = {}
  for _, holder in ipairs(call('HKEYS', base .. ':alive')) do
    local claims_of = call('HGETALL', base .. ':h:' .. holder)
    for i = 1, #claims_of, 2 do
      local pieces = cmsgpack.unpack(claims_of[i + 1])
      for k = 2, #pieces, 5 do
        local lane = pieces[k]
        found[lane] = found[lane] or {}
        table.insert(found[lane], {
          epoch = holder, claim_no = claims_of[i], began = pieces[1], first = pieces[k + 1],
          from = pieces[k + 3], to = pieces[k + 4],
        })
      end
    end
  end
  return found
end

m.held_now = false

function m.holder_of_plain(lane, offset)
  m.held_now = m.held_now or m.pieces_held()
  for _, piece in ipairs(m.held_now[lane] or {}) do
    if offset >= piece.from and offset <= piece.to then return piece end
  end
  return nil
end
