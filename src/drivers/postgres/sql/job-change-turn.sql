-- Verbs on jobs of a queue take turns (7316): what one of them reads before it has all its locks,
-- another must not change meanwhile. $1 lanes.
select pg_advisory_xact_lock(7316, k.queue_id)::text
from (
  select distinct l.queue_id from millrace.job_lane l where l.lane_id = any ($1::int[])
  order by 1
  offset 0
) k
