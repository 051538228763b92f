-- What epochs hold: of plain jobs `:h:<epoch>`, claim -> when it was, then lane, first offset and
-- size of a chunk, from, to for each piece; of rows `:e:<epoch>`, id -> claim.
m.held_by = nil
m.claims = {}
m.has_cancelled = false

function m.hold_for(number_of_epoch)
  m.held_by = number_of_epoch
  m.claims = {}
  m.has_cancelled = m.exists(':xc:' .. m.held_by)
end

function m.claim_of(claim_no)
  local claim = m.claims[claim_no]
  if claim == nil then
    local text = call('HGET', base .. ':h:' .. m.held_by, claim_no)
    claim = text and { pieces = cmsgpack.unpack(text) }
    m.claims[claim_no] = claim
  end
  return claim
end

function m.save_claims()
  for claim_no, claim in pairs(m.claims) do
    if claim and claim.changed then
      if #claim.pieces < 2 then
        call('HDEL', base .. ':h:' .. m.held_by, claim_no)
      else
        call('HSET', base .. ':h:' .. m.held_by, claim_no, cmsgpack.pack(claim.pieces))
      end
      claim.changed = false
    end
  end
end

function m.append(pieces, lane, first, count, from, to)
  local n = #pieces
  pieces[n + 1], pieces[n + 2], pieces[n + 3], pieces[n + 4], pieces[n + 5] =
    lane, first, count, from, to
end

-- Jobs of a lane are let go of.
function m.let_go(lane, jobs)
  m.bump('running', -jobs)
  if not q.keyConcurrency then return end
  local of = m.name_of(lane)
  if of then m.key_return(m.scope_of(of[2], of[3]), jobs) end
end

-- Offsets from..to of this epoch that were cancelled while it held them: forgotten, as it lets go.
function m.cancelled_within(lane, from, to)
  if not m.has_cancelled then return {} end
  local key = base .. ':xc:' .. m.held_by
  local found = call('ZRANGEBYLEX', key, '[' .. m.pad(lane, from), '[' .. m.pad(lane, to))
  local offsets = {}
  for i, padded in ipairs(found) do
    local _, offset = m.unpad(padded)
    call('ZREM', key, padded)
    call('HDEL', m.row_key(lane .. '-' .. offset), 'ep', 'cn')
    offsets[i] = offset
  end
  m.bump('cancelled', -#offsets)
  return offsets
end

-- The epoch lets go of offsets from..to; `ended` gets each run of them that nobody cancelled.
function m.release_piece(lane, first, count, from, to, began, ended)
  m.let_go(lane, to - from + 1)
  for _, offset in ipairs(m.cancelled_within(lane, from, to)) do
    if from < offset then ended(lane, first, count, from, offset - 1, began) end
    m.end_piece(lane, first, count, offset, offset, began, 0)
    from = offset + 1
  end
  if from <= to then ended(lane, first, count, from, to, began) end
end

-- Takes ranges (by lane: first, last, first, last, … ascending) out of a claim. What it does not
-- hold (any more) is passed over: that is what makes a repeated settlement harmless.
function m.release_ranges(claim_no, ranges, ended)
  local claim = m.claim_of(claim_no)
  if not claim then return end
  local old = claim.pieces
  local began = old[1]
  local new, start = { began }, {}
  for i = 2, #old, 5 do
    local lane, first, count, from, to = old[i], old[i + 1], old[i + 2], old[i + 3], old[i + 4]
    local list = ranges[lane]
    if list then
      local k = start[lane] or 1
      while list[k] and list[k + 1] < from do k = k + 2 end
      start[lane] = k
      while list[k] and list[k] <= to do
        local low, high = math.max(list[k], from), math.min(list[k + 1], to)
        if low <= high then -- else said twice
          if from < low then m.append(new, lane, first, count, from, low - 1) end
          m.release_piece(lane, first, count, low, high, began, ended)
          claim.changed = true
          from = high + 1
        end
        k = k + 2
      end
    end
    if from <= to then m.append(new, lane, first, count, from, to) end
  end
  claim.pieces = new
end
