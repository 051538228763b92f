-- Settles inside a handler's own transaction; raises when a job of it was cancelled meanwhile.
-- $1 epoch, $2 queue id, $3-$5 acknowledged ranges, $6-$8 results, $9 rows as json.
select millrace.settle_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9, false, true)
