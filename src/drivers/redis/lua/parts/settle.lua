-- What a worker says about jobs that it holds, becomes of them.
m.results = {}

function m.keep_results(lane, from, to)
  if not next(m.results) then return end
  for offset = from, to do
    local id = lane .. '-' .. offset
    local json = m.results[id]
    if json and (m.history_max ~= 0 or call('ZSCORE', base .. ':keep', m.pad(lane, offset))) then
      call('HSET', base .. ':res', id, json)
    end
  end
end

function m.complete_piece(lane, first, count, from, to, began)
  m.bump('kept', to - from + 1)
  if m.exists(':kids') then m.notify_children(lane, from, to, true) end
  m.keep_results(lane, from, to)
  m.end_piece(lane, first, count, from, to, began, now)
end

-- Reads at once all keys of which jobs will be let go.
function m.load_held_keys(by_claim)
  local lanes, scopes = {}, {}
  for _, ranges in pairs(by_claim) do
    for lane in pairs(ranges) do
      if m.names[lane] == nil then lanes[#lanes + 1] = lane end
    end
  end
  m.load_names(lanes)
  for _, ranges in pairs(by_claim) do
    for lane in pairs(ranges) do
      local name = m.name_of(lane)
      if name then scopes[#scopes + 1] = m.scope_of(name[2], name[3]) end
    end
  end
  m.load_keys(scopes)
end

-- Arguments: ranges (claim, lane, first, last), results (id, json), jobs (lane, offset, claim,
-- status, delay, '1' if it counts, error, fingerprint), each behind their number.
function m.settle(own_claim_no)
  local by_claim, order = {}, {}
  for _ = 1, number() do
    local claim_no, lane, first, last = arg(), number(), number(), number()
    local ranges = by_claim[claim_no]
    if not ranges then
      ranges = {}
      by_claim[claim_no] = ranges
      order[#order + 1] = claim_no
    end
    local list = ranges[lane] or {}
    ranges[lane] = list
    list[#list + 1] = first
    list[#list + 1] = last
  end
  local with_result = number()
  for _ = 1, with_result do
    local id = arg()
    m.results[id] = arg()
  end
  if q.keyConcurrency then m.load_held_keys(by_claim) end
  local singles = number()
  if with_result + singles > 0 then m.calm = false end
  for _, claim_no in ipairs(order) do
    m.release_ranges(claim_no, by_claim[claim_no], m.complete_piece)
  end
  for _ = 1, singles do
    m.settle_one({
      lane = number(), offset = number(), claim_no = arg(), status = arg(), delay = number(),
      counts = arg() == '1', error = arg(), fingerprint = arg(),
    }, own_claim_no)
  end
  m.save_claims()
end
