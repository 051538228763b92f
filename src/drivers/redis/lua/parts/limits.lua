-- Limits of a queue and of its keys. What runs is counted always for the queue, for keys while they
-- have a limit. A rate is a bucket of `rate` tokens that fills up within `rateMs`.
m.key_rooms = {}

function m.scope_of(tenant, key) return tenant .. '\31' .. key end

-- Tokens now: a clock that was set back does not empty the bucket, one set forward not overfill it.
function m.refill(rate, per_ms, tokens, counted_at)
  if not tokens then return rate end
  return math.min(rate, tokens + rate * math.max(0, now - counted_at) / per_ms)
end

-- How many more may start, and in how many ms to look again if that is none.
function m.room_of(concurrency, running, rate, per_ms, tokens)
  local room, wait = 1e9, nil
  if concurrency then
    room = math.max(0, concurrency - running)
    if room == 0 then wait = 0 end
  end
  if rate then
    if tokens < 1 then wait = math.max(1, math.ceil((1 - tokens) * per_ms / rate)) end
    room = math.min(room, math.floor(tokens))
  end
  return room, wait
end

function m.key_room(scope)
  local found = m.key_rooms[scope]
  if found then return found end
  found = { taken = 0, tokens = 0 }
  local running = q.keyConcurrency and tonumber(call('HGET', base .. ':kr', scope) or 0)
  if q.keyRate then
    local tokens, at = string.match(call('GET', base .. ':kt:' .. scope) or '', '^(%S+) (%d+)$')
    found.tokens = m.refill(q.keyRate, q.keyRateMs, tonumber(tokens or nil), tonumber(at or nil))
  end
  found.room, found.wait =
    m.room_of(q.keyConcurrency, running, q.keyRate, q.keyRateMs, found.tokens)
  m.key_rooms[scope] = found
  return found
end

function m.key_take(found, jobs)
  found.room = found.room - jobs
  found.taken = found.taken + jobs
  if found.room <= 0 and not found.wait then
    local rest = found.tokens - found.taken
    found.wait = q.keyRate and rest < 1 and math.ceil((1 - rest) * q.keyRateMs / q.keyRate) or 0
  end
end

function m.save_keys()
  for scope, found in pairs(m.key_rooms) do
    if found.taken > 0 then
      if q.keyConcurrency then call('HINCRBY', base .. ':kr', scope, found.taken) end
      if q.keyRate then
        local tokens = found.tokens - found.taken
        local full_ms = math.ceil((q.keyRate - tokens) * q.keyRateMs / q.keyRate)
        call('SET', base .. ':kt:' .. scope, string.format('%.6f %d', tokens, now),
          'PX', math.max(1, full_ms))
      end
    end
  end
end

-- Jobs of a key run no more.
function m.key_return(scope, jobs)
  if not q.keyConcurrency then return end
  if call('HINCRBY', base .. ':kr', scope, -jobs) <= 0 then call('HDEL', base .. ':kr', scope) end
end
