-- State rows of jobs that came to a bad end, the latest end first: the newest of each queue, merged.
-- $1 queue, $2 tenant, $3 key, $4 name, $5 from, $6 to, $7 rows at most, $8 time, $9 lane and $10
-- offset to begin before, $11 status, $12 fingerprint.
select x.lane_id, x."offset", true, x.finished_at::text
from millrace.job_queue q
cross join lateral (
  select s.lane_id, s."offset", s.finished_at from millrace.job_state s
  where s.queue_id = q.queue_id and s.status = $11::text
    and ($8::timestamptz is null or s.finished_at <= $8)
    and ($8::timestamptz is null
      or (s.finished_at, s.lane_id, s."offset") < ($8, $9::int, $10::bigint))
    and ($2::text is null or s.tenant_id = $2) and ($3::text is null or s.job_key = $3)
    and ($4::text is null or s.name = $4) and ($12::text is null or s.fingerprint = $12)
    and ($5::timestamptz is null and $6::timestamptz is null or (
      select j.enqueued_at >= coalesce($5, '-infinity') and j.enqueued_at < coalesce($6, 'infinity')
      from millrace.job j where j.lane_id = s.lane_id and j."offset" = s."offset" limit 1))
  order by s.finished_at desc, s.lane_id desc, s."offset" desc limit $7::int
) x
where $1::text is null or q.queue_name = $1
order by x.finished_at desc, x.lane_id desc, x."offset" desc limit $7
