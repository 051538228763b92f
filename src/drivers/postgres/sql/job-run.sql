-- Makes delayed and retrying jobs wait for a worker now. $1 lanes, $2 offsets. Rows: lane, offset.
update millrace.job_state s set status = 'waiting', run_at = clock_timestamp()
from unnest($1::int[], $2::bigint[]) as r(lane_id, "offset")
where s.lane_id = r.lane_id and s."offset" = r."offset" and s.status in ('delayed', 'retrying')
returning s.lane_id, s."offset"
