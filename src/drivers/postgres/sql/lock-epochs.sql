-- Keeps settlements and recoveries of a queue's workers still until the end of the transaction: each
-- has looked at the limits of the queue before it says how many permits come back. $1 queue.
select pg_advisory_xact_lock(7313, k.id)::text
from (
  select distinct (w.epoch % 2147483647)::int as id from millrace.job_worker w
  where $1 = any (w.queues) order by 1 offset 0
) k
