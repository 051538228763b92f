-- Answer: for each epoch that was not declared dead: epoch, who and since when (json), last beat,
-- its queues; and the time.
local answers = {}
local workers = call('HGETALL', base .. ':workers')
for i = 1, #workers, 2 do
  local epoch = workers[i]
  answers[#answers + 1] = {
    epoch, workers[i + 1], call('HGET', base .. ':beats', epoch) or '0 0 0',
  }
end
return { now, answers }
