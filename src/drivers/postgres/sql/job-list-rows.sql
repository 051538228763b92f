-- State rows of a status, or of a fingerprint whatever their status; the newest of each lane first.
-- $1 queue, $2 tenant, $3 key, $4 name, $5 from, $6 to, $7 rows at most, $8 lane and $9 offset to
-- begin before, $10 status, $11 fingerprint.
select s.lane_id, s."offset", true
from millrace.job_state s
join millrace.job_queue q on q.queue_id = s.queue_id
where ($10::text is null or s.status = $10) and ($11::text is null or s.fingerprint = $11)
  and s.name <> '' and (s.lane_id, s."offset") < ($8::int, $9::bigint)
  and ($1::text is null or q.queue_name = $1) and ($2::text is null or s.tenant_id = $2)
  and ($3::text is null or s.job_key = $3) and ($4::text is null or s.name = $4)
  and ($5::timestamptz is null and $6::timestamptz is null or (
    select j.enqueued_at >= coalesce($5, '-infinity') and j.enqueued_at < coalesce($6, 'infinity')
    from millrace.job j where j.lane_id = s.lane_id and j."offset" = s."offset" limit 1))
order by s.lane_id desc, s."offset" desc limit $7::int
