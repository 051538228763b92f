-- Says that a worker lives and what it does. $1 epoch, $2 running, $3 concurrency, $4 oldest claim
-- number that is not wholly settled. Answers with its jobs that were cancelled.
select b.alive, b.lanes, b.offsets from millrace.beat_worker($1, $2, $3, $4) b
