-- Jobs that a worker has, the longest running first: open claims without what was acknowledged or
-- has a state row, and the state rows that run. As many as workers hold, so it reads them all.
-- $1 queue, $2 tenant, $3 key, $4 name, $5 from, $6 to, $7 rows at most, $8 time, $9 lane and $10
-- offset to begin behind.
select h.lane_id, h."offset", true, h.started_at::text
from (
  select c.lane_id, o."offset", c.claimed_at as started_at
  from millrace.job_worker w
  join millrace.job_claim c on c.epoch = w.epoch and c.claim_no >= w.oldest_claim_no
  join millrace.job_lane l on l.lane_id = c.lane_id
  join millrace.job_queue q on q.queue_id = l.queue_id
  cross join lateral (
    select range_agg(int8range(a.first_offset, a.last_offset, '[]')) as ranges
    from millrace.job_ack a
    where a.lane_id = c.lane_id and a.first_offset between c.from_offset and c.to_offset
  ) acked
  cross join lateral unnest(int8multirange(int8range(c.from_offset, c.to_offset, '[]'))
    - coalesce(acked.ranges, '{}')) as open
  cross join lateral generate_series(lower(open), upper(open) - 1) as o("offset")
  where ($1::text is null or q.queue_name = $1) and ($2::text is null or l.tenant_id = $2)
    and ($3::text is null or l.lane_key = $3)
    and (select true from millrace.job_state s
      where s.lane_id = c.lane_id and s."offset" = o."offset" limit 1) is null
  union all
  select s.lane_id, s."offset", s.started_at
  from millrace.job_state s
  join millrace.job_queue q on q.queue_id = s.queue_id
  where s.epoch is not null and s.status = 'running'
    and ($1::text is null or q.queue_name = $1) and ($2::text is null or s.tenant_id = $2)
    and ($3::text is null or s.job_key = $3)
) h
cross join lateral (
  select k.name, k.enqueued_at from millrace.job k
  where k.lane_id = h.lane_id and k."offset" = h."offset" limit 1
) j
where ($8::timestamptz is null
    or (h.started_at, h.lane_id, h."offset") > ($8, $9::int, $10::bigint))
  and ($4::text is null or j.name = $4)
  and ($5::timestamptz is null or j.enqueued_at >= $5)
  and ($6::timestamptz is null or j.enqueued_at < $6)
order by h.started_at, h.lane_id, h."offset" limit $7::int
