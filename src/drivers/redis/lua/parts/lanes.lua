-- Lanes: what they are named by, and how far they are. Of many lanes all is read and written at once.
m.names, m.lanes = {}, {}

-- Reads what lanes are named by: priority, tenant, key, whether they are claimed by range.
function m.load_names(lanes)
  if #lanes == 0 then return end
  for i, text in ipairs(call('HMGET', base .. ':lanes', unpack(lanes))) do
    m.names[lanes[i]] = text and cmsgpack.unpack(text)
  end
end

-- What a lane is named by; false when this queue has no such lane.
function m.name_of(lane)
  if m.names[lane] == nil then m.load_names({ lane }) end
  return m.names[lane]
end

-- head: last offset; next: first one that nobody claimed; first: that of the chunk which next is in.
local function add_lane(lane, text)
  local head, next_one, first = string.match(text or '0 1 1', '^(%d+) (%d+) (%d+)$')
  local state =
    { id = lane, head = tonumber(head), next = tonumber(next_one), first = tonumber(first) }
  state.was_ready = state.next <= state.head
  m.lanes[lane] = state
  return state
end

function m.load_lanes(lanes)
  if #lanes == 0 then return end
  for i, text in ipairs(call('HMGET', base .. ':at', unpack(lanes))) do add_lane(lanes[i], text) end
end

function m.lane(lane)
  return m.lanes[lane] or add_lane(lane, call('HGET', base .. ':at', lane))
end

function m.change_lane(state)
  state.changed = true
  m.lanes_changed = true
end

function m.save_lanes()
  local fields, ready, drained = {}, {}, {}
  for lane, state in pairs(m.lanes) do
    if state.changed then
      fields[#fields + 1] = lane
      fields[#fields + 1] = string.format('%d %d %d', state.head, state.next, state.first)
      local is_ready = state.next <= state.head
      if is_ready and not state.was_ready then
        ready[#ready + 1] = m.name_of(lane)[1]
        ready[#ready + 1] = lane
      elseif state.was_ready and not is_ready then
        drained[#drained + 1] = lane
      end
    end
  end
  m.in_parts('HSET', base .. ':at', fields)
  m.in_parts('ZADD', base .. ':ready', ready)
  m.in_parts('ZREM', base .. ':ready', drained)
end
