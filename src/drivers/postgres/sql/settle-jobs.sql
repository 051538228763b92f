-- Settles inside a handler's own transaction; raises when a job of it was cancelled meanwhile.
-- $1 epoch, $2 queue id, $3-$5 acknowledged ranges, $6-$8 results, $9 rows as json. Row: the
-- transaction's number, and queues in which a child may run now.
select number, woken from millrace.settle_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9, false, true)
