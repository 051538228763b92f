-- Limits of a queue and of its keys. What runs is counted always for the queue, for keys while they
-- have a limit. A rate is a bucket of `rate` tokens that fills up within `rateMs`.
m.key_states = rawget(m, 'key_states') or {}

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

-- A key as it stands. Text is three doubles: what runs, tokens (-1: all), ms when they were counted;
-- reading and writing numbers as decimals would cost more than all the rest.
function m.load_key(scope, text)
  local running, tokens, at = 0, -1, now
  if text then running, tokens, at = struct.unpack('<ddd', text) end
  local state = { running = running }
  if q.keyRate then
    state.tokens = m.refill(q.keyRate, q.keyRateMs, tokens >= 0 and tokens or nil, at)
  end
  m.key_states[scope] = state
  return state
end

function m.key_state(scope)
  return m.key_states[scope] or m.load_key(scope, call('HGET', base .. ':ks', scope))
end

-- Reads many at once: a command for each would be half of what a limit costs.
function m.load_keys(scopes)
  if #scopes == 0 then return end
  for i, text in ipairs(call('HMGET', base .. ':ks', unpack(scopes))) do
    if not m.key_states[scopes[i]] then m.load_key(scopes[i], text) end
  end
end

function m.key_room(scope)
  local state = m.key_state(scope)
  return m.room_of(q.keyConcurrency, state.running, q.keyRate, q.keyRateMs, state.tokens)
end

-- So many more of a key run (less, if negative), and as many tokens are gone.
function m.key_take(scope, jobs, tokens)
  local state = m.key_state(scope)
  if q.keyConcurrency then state.running = math.max(0, state.running + jobs) end
  if q.keyRate then state.tokens = state.tokens - tokens end
  state.changed = true
  m.keys_changed = true
end

-- Jobs of a key run no more.
function m.key_return(scope, jobs)
  if q.keyConcurrency then m.key_take(scope, -jobs, 0) end
end

-- A key of which nothing runs and all tokens are there needs no record.
function m.save_keys()
  local set, gone = {}, {}
  for scope, state in pairs(m.key_states) do
    local full = not q.keyRate or state.tokens >= q.keyRate
    if state.changed and state.running == 0 and full then
      gone[#gone + 1] = scope
    elseif state.changed then
      set[#set + 1] = scope
      set[#set + 1] = struct.pack('<ddd', state.running, state.tokens or -1, now)
    end
  end
  m.in_parts('HSET', base .. ':ks', set)
  m.in_parts('HDEL', base .. ':ks', gone)
end
