-- Jobs that wait for a worker, as they will be taken: by priority, then lane and offset. Plain ones
-- lie beyond the last claim of their lane; the others have a state row. $1 queue, $2 tenant, $3 key,
-- $4 name, $5 from, $6 to, $7 rows at most, $8 priority, $9 lane and $10 offset to begin behind.
select w.lane_id, w."offset", ($4::text is null or j.name = $4)
  and ($5::timestamptz is null or j.enqueued_at >= $5)
  and ($6::timestamptz is null or j.enqueued_at < $6), w.priority
from (
  (select l.priority, l.lane_id, x."offset" from (
    select l.priority, l.lane_id from millrace.job_lane l join millrace.job_queue q on q.queue_id = l.queue_id
    where l.by_range and ($1::text is null or q.queue_name = $1)
      and ($2::text is null or l.tenant_id = $2) and ($3::text is null or l.lane_key = $3)
      and (l.priority, l.lane_id) >= ($8::int, $9::int)
    order by l.priority, l.lane_id
  ) l
  cross join lateral (
    select coalesce((select c.to_offset from millrace.job_claim c where c.lane_id = l.lane_id
      order by c.to_offset desc limit 1), 0) as last_offset
  ) claimed
  cross join lateral (
    select j."offset" from millrace.job j
    where j.lane_id = l.lane_id
      and j."offset" > greatest(claimed.last_offset,
        case when l.lane_id = $9 then $10::bigint else 0 end)
      and (select true from millrace.job_state s
        where s.lane_id = j.lane_id and s."offset" = j."offset" limit 1) is null
    order by j."offset" limit $7::int
  ) x
  order by l.priority, l.lane_id, x."offset" limit $7)
  union all
  (select s.priority, s.lane_id, s."offset" from millrace.job_state s
  join millrace.job_queue q on q.queue_id = s.queue_id
  where s.status = 'waiting' and s.priority >= $8
    and (s.priority, s.lane_id, s."offset") > ($8, $9, $10)
    and ($1::text is null or q.queue_name = $1) and ($2::text is null or s.tenant_id = $2)
    and ($3::text is null or s.job_key = $3)
  order by s.priority, s.lane_id, s."offset" limit $7)
) w
cross join lateral (
  select k.name, k.enqueued_at from millrace.job k
  where k.lane_id = w.lane_id and k."offset" = w."offset" limit 1
) j
order by w.priority, w.lane_id, w."offset" limit $7
