-- Removes jobs that had a state row from their enqueue and came to an end before the retention, but
-- for those that somebody waits for and those whose unique key still holds. $1 retention in ms,
-- $2 jobs at most. Row: how many.
with picked as (
  select x.lane_id, x."offset" from millrace.job_queue q
  cross join unnest(array['completed', 'dead', 'cancelled', 'quarantined']) as o(status)
  cross join lateral (
    select s.lane_id, s."offset" from millrace.job_state s
    join millrace.job_lane l on l.lane_id = s.lane_id and not l.by_range
    where s.queue_id = q.queue_id and s.status = o.status and s.epoch is null
      and s.finished_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
      and (s.unique_until is null or s.unique_until < clock_timestamp())
      and not exists (select 1 from millrace.job_dependency d
        where d.parent_lane = s.lane_id and d.parent_offset = s."offset" and not d.finished)
    order by s.finished_at limit $2::int
    for update of s skip locked
  ) x
  limit $2
), states as (
  delete from millrace.job_state s using picked p
  where s.lane_id = p.lane_id and s."offset" = p."offset"
), results as (
  delete from millrace.job_result e using picked p
  where e.lane_id = p.lane_id and e."offset" = p."offset"
), progress as (
  delete from millrace.job_progress e using picked p
  where e.lane_id = p.lane_id and e."offset" = p."offset"
), parents as (
  delete from millrace.job_dependency d using picked p
  where d.child_lane = p.lane_id and d.child_offset = p."offset"
), jobs as (
  delete from millrace.job j using picked p
  where j.lane_id = p.lane_id and j."offset" = p."offset"
  returning j.lane_id
)
select count(*) from jobs
