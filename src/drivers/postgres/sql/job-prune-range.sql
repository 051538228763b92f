-- Removes the jobs of a lane from its first to one, with everything about them. Of the claims the
-- newest stays: it says how far the lane was claimed. $1 lane, $2 first, $3 last.
-- Row: how many jobs there were, without those that had been removed before.
with states as (
  delete from millrace.job_state s
  where s.lane_id = $1::int and s."offset" between $2::bigint and $3::bigint
), claims as (
  delete from millrace.job_claim c where c.lane_id = $1 and c.to_offset <= $3
    and c.to_offset < (select k.to_offset from millrace.job_claim k
      where k.lane_id = $1 order by k.to_offset desc limit 1)
), acks as (
  delete from millrace.job_ack a
  where a.lane_id = $1 and a.first_offset <= $3 and a.last_offset <= $3
), results as (
  delete from millrace.job_result e where e.lane_id = $1 and e."offset" between $2 and $3
), progress as (
  delete from millrace.job_progress e where e.lane_id = $1 and e."offset" between $2 and $3
), jobs as (
  delete from millrace.job j where j.lane_id = $1 and j."offset" between $2 and $3
  returning j.name
)
select count(*) filter (where j.name <> '') from jobs j
