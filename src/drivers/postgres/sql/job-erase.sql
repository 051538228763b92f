-- Removes jobs. One with a state row from its enqueue goes altogether. A plain one leaves a row
-- without name and payload: offsets stay dense, and the last one of a lane says where the next job
-- goes. Its state row has no name and counts as completed before all times, so that nothing claims
-- it or waits for it, and retention clears it away with the first jobs of its lane.
-- $1 lanes, $2 offsets.
with picked as (
  select r.lane_id, r."offset", l.by_range, l.queue_id, l.tenant_id, l.priority, l.lane_key
  from unnest($1::int[], $2::bigint[]) as r(lane_id, "offset")
  join millrace.job_lane l on l.lane_id = r.lane_id
), results as (
  delete from millrace.job_result e using picked p
  where e.lane_id = p.lane_id and e."offset" = p."offset"
), progress as (
  delete from millrace.job_progress e using picked p
  where e.lane_id = p.lane_id and e."offset" = p."offset"
), parents as (
  delete from millrace.job_dependency d using picked p
  where d.child_lane = p.lane_id and d.child_offset = p."offset"
), states as (
  delete from millrace.job_state s using picked p
  where s.lane_id = p.lane_id and s."offset" = p."offset" and not p.by_range
), jobs as (
  delete from millrace.job j using picked p
  where j.lane_id = p.lane_id and j."offset" = p."offset" and not p.by_range
), emptied as (
  update millrace.job j set name = '', payload = 'null', options = null from picked p
  where j.lane_id = p.lane_id and j."offset" = p."offset" and p.by_range
)
insert into millrace.job_state (lane_id, "offset", queue_id, tenant_id, priority, job_key,
  name, status, run_at, finished_at)
select p.lane_id, p."offset", p.queue_id, p.tenant_id, p.priority, p.lane_key, '', 'completed',
  clock_timestamp(), '-infinity'
from picked p where p.by_range
on conflict (lane_id, "offset") do update set name = '', status = 'completed', error = null,
  fingerprint = null, epoch = null, unique_key = null, finished_at = '-infinity'
