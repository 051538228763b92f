-- Single jobs that an epoch lets go of.

-- A plain job gets a row, and its place in the chunk is over. Answers with the row, not placed yet.
function m.row_of_plain(lane, offset, first, began)
  local text, count, ms, start = m.read_chunk(lane, first)
  local of = m.name_of(lane)
  local row = m.new_row(lane, offset, { p = of[1], t = of[2], k = of[3] },
    m.slice(text, start, offset - first, 1), ms)
  if began then call('HSET', m.row_key(row.id), 's', began) end
  m.end_piece(lane, first, count, offset, offset, began or 0, 0)
  return row
end

-- The epoch lets go of a row. Answers with it if it runs still; cancelled or gone: nil.
function m.release_row(lane, offset)
  local id = lane .. '-' .. offset
  call('HDEL', base .. ':e:' .. m.held_by, id)
  m.bump('rows', -1)
  local row = m.load_row(lane, offset)
  if not row then return nil end
  m.key_return(m.scope_of(row.t, row.k), 1)
  if row.st == 'running' then
    call('HDEL', m.row_key(id), 'ep', 'cn')
    return row
  end
  if m.has_cancelled then call('ZREM', base .. ':xc:' .. m.held_by, row.pad) end
  call('HDEL', m.row_key(id), 'ep', 'cn')
  return nil
end
