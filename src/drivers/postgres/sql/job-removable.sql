-- Which of these jobs nobody has, and so may go. The caller holds the locks of job-change-locks.
-- $1 lanes, $2 offsets. Rows: lane, offset, whether it had not come to an end.
select j.lane_id, j."offset",
  coalesce(s.status, case when c.epoch is null then 'waiting' else 'completed' end)
    in ('blocked', 'delayed', 'waiting', 'retrying')
from unnest($1::int[], $2::bigint[]) as r(lane_id, "offset")
join millrace.job j on j.lane_id = r.lane_id and j."offset" = r."offset"
left join millrace.job_state s on s.lane_id = j.lane_id and s."offset" = j."offset"
left join lateral (
  select k.from_offset, k.epoch from millrace.job_claim k
  where k.lane_id = j.lane_id and k.to_offset >= j."offset" order by k.to_offset limit 1
) c on c.from_offset <= j."offset"
left join lateral (
  select k.last_offset from millrace.job_ack k
  where k.lane_id = j.lane_id and k.first_offset <= j."offset"
  order by k.first_offset desc limit 1
) a on a.last_offset >= j."offset"
where s.name is distinct from '' and case when s.status is null
  then c.epoch is null or a.last_offset is not null
  else s.status <> 'running' and not exists (
    select 1 from millrace.job_worker w where w.epoch = s.epoch) end
