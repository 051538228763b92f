-- Takes the locks for a retry: of the lanes, as whoever counts parents must not see half of it, and
-- of the unique keys, so that nobody enqueues one meanwhile. $1 lanes, $2 offsets.
select pg_advisory_xact_lock(k.space, k.id)::text
from (
  select 1 as turn, 7310 as space, l.lane_id as id
  from millrace.job_lane l where l.lane_id = any ($1::int[])
  union
  select 2, 7314, hashtext(q.queue_name || chr(1) || s.tenant_id || chr(1) || s.unique_key)
  from unnest($1, $2::bigint[]) as r(lane_id, "offset")
  join millrace.job_state s on s.lane_id = r.lane_id and s."offset" = r."offset"
  join millrace.job_queue q on q.queue_id = s.queue_id
  where s.unique_key is not null
  order by 1, 3
  offset 0
) k
