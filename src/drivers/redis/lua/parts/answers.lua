-- Answers to enqueues by their id, so that one sent again is answered and not repeated. Two
-- generations of a minute at least: memory is bounded, and while nothing is written nothing ages.
m.generation_ms = 60000

function m.answer_to(enqueue_id)
  return call('HGET', base .. ':a0', enqueue_id) or call('HGET', base .. ':a1', enqueue_id)
end

function m.save_answer(enqueue_id, answer)
  if not q.answersAt or now - q.answersAt > m.generation_ms or now < q.answersAt then
    if call('EXISTS', base .. ':a0') == 1 then call('RENAME', base .. ':a0', base .. ':a1') end
    call('HSET', base .. ':q', 'answersAt', now)
  end
  call('HSET', base .. ':a0', enqueue_id, answer)
end

-- Jobs that wait for whatever.
function m.length()
  local count = q.waiting
  for _, status in ipairs({ 'waiting', 'delayed', 'retrying', 'blocked' }) do
    count = count + call('ZCARD', base .. ':i:' .. status)
  end
  return count
end

function m.is_full(more) return q.lengthMax and m.length() + more > q.lengthMax end
