-- Jobs as they are shown: lane, offset, tenant, key, priority, record, status, failures, crashes,
-- enqueued, ordering time, started, finished, epoch, error, result, progress, unique key, parents.
-- '' stands for nothing.
function m.text_of(key, id) return call('HGET', base .. key, id) or '' end

function m.row_snapshot(row)
  local started, finished, epoch = unpack(call('HMGET', m.row_key(row.id), 's', 'z', 'ep'))
  local parents = {}
  if row.m then
    for _, field in ipairs(call('HKEYS', m.row_key(row.id))) do
      parents[#parents + 1] = string.match(field, '^w:(.*)$')
    end
  end
  return {
    row.lane, row.offset, row.t, row.k, row.p, m.text_of(':data', row.id), row.st, row.f, row.c,
    row.e, row.r, started or '', finished or '', epoch or '', m.text_of(':err', row.id),
    m.text_of(':res', row.id), m.text_of(':prog', row.id), row.u or '',
    table.concat(parents, ' '), row.u and 1 or 0,
  }
end

function m.plain_snapshot(lane, offset, state, chunk, piece)
  local of = m.name_of(lane)
  local id = lane .. '-' .. offset
  local holder = state == 'running' and m.holder_of_plain(lane, offset)
  local began = holder and holder.began or piece and piece.began or ''
  return {
    lane, offset, of[2], of[3], of[1], m.record_of(chunk, offset), state, 0, 0, chunk.ms, '', began,
    piece and piece.ended or '', holder and holder.epoch or '', '', m.text_of(':res', id),
    m.text_of(':prog', id), '', '', 0,
  }
end

m.shown = { waiting = true, running = true, completed = true }

-- A job by its place; nil when it is not there.
function m.snapshot(lane, offset)
  local row = m.load_row(lane, offset)
  if row then return m.row_snapshot(row) end
  local state, chunk, piece = m.plain_state(lane, offset)
  if not m.shown[state or ''] then return nil end
  return m.plain_snapshot(lane, offset, state, chunk, piece)
end
