-- Keeps every settlement and recovery still until the end of the transaction: each has looked at
-- the limits of its queue before it says how many permits come back.
select pg_advisory_xact_lock(7313, k.id)::text
from (
  select distinct (w.epoch % 2147483647)::int as id from millrace.job_worker w order by 1 offset 0
) k
