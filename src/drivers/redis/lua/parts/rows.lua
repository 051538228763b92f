-- State rows: the exceptional jobs. A row stands in `:i:<status>` and `:rows`, and while it waits
-- or is to become due in the order of its kind; `place` keeps these together.
m.row_fields = { 'st', 'p', 'r', 'c', 'f', 't', 'k', 'e', 'ep', 'cn', 'u', 'ut', 'm', 'pl' }
m.unfinished = { blocked = true, delayed = true, waiting = true, running = true, retrying = true }

function m.row_key(id) return base .. ':j:' .. id end

function m.load_row(lane, offset)
  local id = lane .. '-' .. offset
  local v = call('HMGET', m.row_key(id), unpack(m.row_fields))
  if not v[1] then return nil end
  return {
    id = id, lane = tonumber(lane), offset = tonumber(offset), pad = m.pad(lane, offset),
    st = v[1], p = tonumber(v[2]), r = tonumber(v[3]), c = tonumber(v[4]), f = tonumber(v[5]),
    t = v[6], k = v[7], e = tonumber(v[8]), ep = v[9], cn = v[10], u = v[11],
    ut = tonumber(v[12] or 0), m = v[13], pl = tonumber(v[14] or 0),
  }
end

-- A row that is to be placed next. `record`: name, version, options and payload.
function m.new_row(lane, offset, of, record, enqueued_at)
  local row = {
    id = lane .. '-' .. offset, lane = lane, offset = offset, pad = m.pad(lane, offset),
    p = of.p, t = of.t, k = of.k, e = enqueued_at, r = enqueued_at, c = 0, f = 0, ut = 0, pl = 0,
  }
  call('HSET', m.row_key(row.id), 'p', row.p, 't', row.t, 'k', row.k, 'e', row.e, 'c', 0, 'f', 0)
  call('HSET', base .. ':data', row.id, record)
  call('ZADD', base .. ':rows', 0, row.pad)
  return row
end

-- The server's order of rows that wait: priority, then time, then place.
function m.order_of(row) return string.format('%013d:', row.r) .. row.pad end

function m.waiting_key(row) return base .. (row.c > 1 and ':x' or ':w') end

function m.leave(row)
  if not row.st then return end
  if row.st == 'waiting' then
    call('ZREM', m.waiting_key(row), m.order_of(row))
  elseif row.st == 'delayed' or row.st == 'retrying' then
    call('ZREM', base .. ':due', row.pad)
  end
  call('ZREM', base .. ':i:' .. row.st, row.pad)
end

-- Moves a row into a status; `at` is the time that orders it or at which it becomes due.
function m.place(row, status, at)
  m.leave(row)
  row.st, row.r = status, at
  if status == 'waiting' then
    call('ZADD', m.waiting_key(row), row.p, m.order_of(row))
  elseif status == 'delayed' or status == 'retrying' then
    call('ZADD', base .. ':due', at, row.pad)
  end
  call('ZADD', base .. ':i:' .. status, now, row.pad)
  call('HSET', m.row_key(row.id), 'st', status, 'r', at)
end

function m.place_by_time(row, status, at)
  if at > now then m.place(row, status, at) else m.place(row, 'waiting', at) end
end

function m.unique_field(row) return row.t .. '\31' .. row.u end

-- Who has a unique key: { id, end of its window or 0 }, oldest first.
function m.unique_list(field)
  local list = {}
  local text = call('HGET', base .. ':u', field)
  if text then
    for id, till in string.gmatch(text, '(%S+):(%d+)') do
      list[#list + 1] = { id, tonumber(till) }
    end
  end
  return list
end

function m.save_unique(field, list)
  if #list == 0 then return call('HDEL', base .. ':u', field) end
  local texts = {}
  for i, one in ipairs(list) do texts[i] = one[1] .. ':' .. string.format('%d', one[2]) end
  call('HSET', base .. ':u', field, table.concat(texts, ' '))
end

-- A finished row lets go of its key, unless it throttles still.
function m.release_unique(row, whatever)
  if not row.u or (row.ut > now and not whatever) then return end
  local field, left = m.unique_field(row), {}
  for _, one in ipairs(m.unique_list(field)) do
    if one[1] ~= row.id then left[#left + 1] = one end
  end
  m.save_unique(field, left)
end

function m.forget_result(id, padded)
  if call('ZSCORE', base .. ':keep', padded) then return end
  call('HDEL', base .. ':res', id)
end

-- Removes a row that nobody holds; nothing is left but a result that children may read.
function m.delete_row(row)
  m.leave(row)
  call('DEL', m.row_key(row.id))
  call('HDEL', base .. ':data', row.id)
  call('HDEL', base .. ':err', row.id)
  call('HDEL', base .. ':prog', row.id)
  call('ZREM', base .. ':rows', row.pad)
  m.forget_result(row.id, row.pad)
end

-- completed, dead, cancelled or quarantined. Children hear of it.
function m.finish(row, status)
  m.place(row, status, row.r)
  call('HSET', m.row_key(row.id), 'z', now)
  m.release_unique(row)
  m.notify_children(row.lane, row.offset, row.offset, status == 'completed')
  if status ~= 'completed' or not m.history_max then return end
  if call('ZCARD', base .. ':i:completed') <= m.history_max then return end
  for _, padded in ipairs(call('ZRANGE', base .. ':i:completed', 0, 1)) do
    local old = m.load_row(m.unpad(padded))
    if old and old.ut <= now then m.delete_row(old) end
    if call('ZCARD', base .. ':i:completed') <= m.history_max then return end
  end
end

function m.set_error(row, json, fingerprint)
  if json == '' then return end
  call('HSET', base .. ':err', row.id, json)
  call('HSET', m.row_key(row.id), 'fp', fingerprint)
end
