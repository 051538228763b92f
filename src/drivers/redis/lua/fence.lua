-- Fences a dead epoch in this queue and makes what it held wait again, some hundred jobs a call.
-- Arguments: epoch, '1' when it crashed, crashes that quarantine. Answer: 1 when there is more, 1
-- when `:out` has news, then lane, offset, crashes, 1 if quarantined of each job.
local jobs_max = 500
local crashed, crashes_max = nil, nil
local answer, moved = { 0, 0 }, 0

local function wait_again(row)
  if crashed then
    row.c = row.c + 1
    call('HSET', m.row_key(row.id), 'c', row.c)
  end
  local lost = crashed and row.c >= crashes_max
  if lost then m.finish(row, 'quarantined') else m.place(row, 'waiting', row.e) end
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3] = row.lane, row.offset, row.c
  answer[n + 4] = lost and 1 or 0
end

local function fence_rows()
  local ids = call('HKEYS', base .. ':e:' .. m.held_by)
  for _, id in ipairs(ids) do
    if moved >= jobs_max then return end
    local lane, offset = m.parse_id(id)
    local row = m.release_row(tonumber(lane), tonumber(offset))
    if row then wait_again(row) end
    moved = moved + 1
  end
end

local function fence_piece(lane, first, _, from, to, began)
  for offset = from, to do wait_again(m.row_of_plain(lane, offset, first, began)) end
end

local function fence_claims()
  local numbers = call('HKEYS', base .. ':h:' .. m.held_by)
  table.sort(numbers, function(a, b) return tonumber(a) < tonumber(b) end)
  for _, claim_no in ipairs(numbers) do
    local claim = m.claim_of(claim_no)
    while #claim.pieces > 1 do
      if moved >= jobs_max then return end
      local lane, from, to = claim.pieces[2], claim.pieces[5], claim.pieces[6]
      local stop = math.min(to, from + jobs_max - moved - 1)
      m.release_ranges(claim_no, { [lane] = { from, stop } }, fence_piece)
      moved = moved + stop - from + 1
    end
  end
end

local dead = arg()
crashed, crashes_max = arg() == '1', number()
call('HSET', base .. ':alive', dead, string.format('%d', now))
call('HDEL', base .. ':last', dead)
m.hold_for(dead)
fence_rows()
fence_claims()
m.save_claims()
if m.exists(':h:' .. dead, ':e:' .. dead) then
  answer[1] = 1
else
  call('DEL', base .. ':xc:' .. dead)
end
m.save()
answer[2] = m.news
return answer
