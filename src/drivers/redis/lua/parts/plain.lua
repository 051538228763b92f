-- Single plain jobs: where they are, and how they stand.
local chunk_max = 64

-- First offset of the chunk with this offset, and the chunk; nil: gone, or never there.
function m.find_chunk(lane, offset)
  for first = offset, math.max(1, offset - chunk_max + 1), -1 do
    local text, count, ms, start = m.read_chunk(lane, first)
    if text then
      if first + count <= offset then return nil end
      return first, text, count, ms, start
    end
  end
  return nil
end

-- The state of a plain job: nil never there, 'waiting', 'running', 'completed', 'moved' (has or had
-- a row), 'gone' (completed long ago); then its chunk, and its piece if it has ended.
function m.plain_state(lane, offset)
  local at = m.lane(lane)
  if offset > at.head then return nil end
  local taken = call('ZSCORE', base .. ':t', m.pad(lane, offset))
  if taken then return 'moved' end
  local first, text, count, ms, start = m.find_chunk(lane, offset)
  if not first then return 'gone' end
  local chunk = { first = first, text = text, count = count, ms = ms, start = start }
  if offset >= at.next then return 'waiting', chunk end
  local pieces = m.read_pieces(lane, first)
  for i = 1, #pieces, 4 do
    if offset >= pieces[i] and offset <= pieces[i + 1] then
      local piece = { at = i, began = pieces[i + 2], ended = pieces[i + 3] }
      return pieces[i + 3] > 0 and 'completed' or 'moved', chunk, piece
    end
  end
  return 'running', chunk
end

function m.record_of(chunk, offset)
  return m.slice(chunk.text, chunk.start, offset - chunk.first, 1)
end

-- Whether a job came to an end, and how: true completed, false failed, nil not yet. What was never
-- there, or was removed, holds nobody up.
function m.outcome_of(lane, offset)
  local status = call('HGET', m.row_key(lane .. '-' .. offset), 'st')
  if status then
    if m.unfinished[status] then return nil end
    return status == 'completed'
  end
  local state = m.plain_state(lane, offset)
  if state == 'waiting' or state == 'running' then return nil end
  return true
end
