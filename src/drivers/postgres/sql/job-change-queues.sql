-- Keeps claims of these jobs' queues still until the end of the transaction. $1 lanes.
select pg_advisory_xact_lock(7312, k.queue_id)::text
from (
  select distinct l.queue_id from millrace.job_lane l where l.lane_id = any ($1::int[])
  order by 1
  offset 0
) k
