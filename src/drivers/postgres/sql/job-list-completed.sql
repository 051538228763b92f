-- A stretch of completed jobs, the newest of each lane first: plain ones below the last claim of
-- their lane, so that a long backlog is not looked through, and those with a state row from their
-- enqueue. `matches` tells which are wanted. $1 queue, $2 tenant, $3 key, $4 name, $5 from, $6 to,
-- $7 rows at most, $8 lane and $9 offset to begin before.
select w.lane_id, w."offset", w.done and ($4::text is null or j.name = $4)
  and ($5::timestamptz is null or j.enqueued_at >= $5)
  and ($6::timestamptz is null or j.enqueued_at < $6)
from (
  (select x.lane_id, x."offset", x.done from (
    select l.lane_id from millrace.job_lane l
    join millrace.job_queue q on q.queue_id = l.queue_id
    where l.by_range and ($1::text is null or q.queue_name = $1)
      and ($2::text is null or l.tenant_id = $2) and ($3::text is null or l.lane_key = $3)
      and l.lane_id <= $8::int
    order by l.lane_id desc
  ) l
  cross join lateral (
    select coalesce((select c.to_offset from millrace.job_claim c where c.lane_id = l.lane_id
      order by c.to_offset desc limit 1), 0) as last_offset
  ) claimed
  cross join lateral (
    select j.lane_id, j."offset", case when s.status is not null
      then s.status = 'completed' and s.name <> ''
      else coalesce((select a.last_offset from millrace.job_ack a
        where a.lane_id = j.lane_id and a.first_offset <= j."offset"
        order by a.first_offset desc limit 1), 0) >= j."offset" end as done
    from millrace.job j
    left join lateral (
      select k.status, k.name from millrace.job_state k
      where k.lane_id = j.lane_id and k."offset" = j."offset" limit 1
    ) s on true
    where j.lane_id = l.lane_id and j."offset" <= least(claimed.last_offset,
      case when l.lane_id = $8 then $9::bigint - 1 else 9223372036854775807 end)
    order by j."offset" desc limit $7::int
  ) x
  order by l.lane_id desc, x."offset" desc limit $7)
  union all
  (select s.lane_id, s."offset", true from millrace.job_state s
  join millrace.job_lane l on l.lane_id = s.lane_id and not l.by_range
  join millrace.job_queue q on q.queue_id = s.queue_id
  where s.status = 'completed' and (s.lane_id, s."offset") < ($8, $9)
    and ($1::text is null or q.queue_name = $1) and ($2::text is null or s.tenant_id = $2)
    and ($3::text is null or s.job_key = $3)
  order by s.lane_id desc, s."offset" desc limit $7)
) w
cross join lateral (
  select k.name, k.enqueued_at from millrace.job k
  where k.lane_id = w.lane_id and k."offset" = w."offset" limit 1
) j
order by w.lane_id desc, w."offset" desc limit $7
