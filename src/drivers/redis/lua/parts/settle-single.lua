-- What a worker says about a single job that it holds, becomes of that.

-- What is said about one job: its status, its delay, whether the try counts, its error.
function m.apply(row, said)
  if said.counts then
    row.f = row.f + 1
    call('HSET', m.row_key(row.id), 'f', row.f)
  end
  m.set_error(row, said.error, said.fingerprint)
  if said.status == 'released' then return m.place(row, 'waiting', row.e) end
  if said.status == 'retrying' then return m.place_by_time(row, 'retrying', m.after(said.delay)) end
  if said.status == 'completed' and m.results[row.id] then
    call('HSET', base .. ':res', row.id, m.results[row.id])
  end
  m.finish(row, said.status)
end

-- One job that needs a row, or has one. Held by another claim, or not at all: said before, nothing
-- is done. A released job may be named without its claim; not one that this exchange claimed
-- itself.
function m.settle_one(said, own_claim_no)
  local lane, offset = said.lane, said.offset
  local id = lane .. '-' .. offset
  local claim_no = call('HGET', base .. ':e:' .. m.held_by, id)
  if claim_no then
    local meant = said.claim_no == claim_no or (said.claim_no == '' and claim_no ~= own_claim_no)
    local row = meant and m.release_row(lane, offset)
    if row then m.apply(row, said) end
    return
  end
  local numbers = { said.claim_no }
  if said.claim_no == '' then numbers = call('HKEYS', base .. ':h:' .. m.held_by) end
  for _, no in ipairs(numbers) do
    if no ~= own_claim_no or said.claim_no ~= '' then
      m.release_ranges(no, { [lane] = { offset, offset } }, function(_, first, _, _, _, began)
        m.apply(m.row_of_plain(lane, offset, first, began), said)
      end)
    end
  end
end
