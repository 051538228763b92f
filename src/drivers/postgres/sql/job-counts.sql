-- How many jobs of each status a queue has, by arithmetic on the ends of its lanes: what is stored,
-- less what waits, runs or has a state row, is completed. Only state rows are counted one by one,
-- and of the completed ones the index alone is read. $1 queues, or null for all.
select q.queue_name,
  (lanes.stored - lanes.waiting - lanes.rows - running.n + coalesce(rows.completed, 0))::bigint,
  (lanes.waiting + coalesce(rows.waiting, 0))::bigint,
  (running.n + coalesce(rows.running, 0))::bigint, coalesce(rows.delayed, 0)::bigint,
  coalesce(rows.retrying, 0)::bigint, coalesce(rows.blocked, 0)::bigint,
  coalesce(rows.dead, 0)::bigint, coalesce(rows.cancelled, 0)::bigint,
  coalesce(rows.quarantined, 0)::bigint
from millrace.job_queue q
cross join lateral (
  select coalesce(sum(e.last_offset - e.first_offset + 1), 0)::bigint as stored,
    coalesce(sum(greatest(0, e.last_offset - greatest(e.claimed, e.first_offset - 1)) - e.ahead),
      0)::bigint as waiting,
    coalesce(sum(e.rows), 0)::bigint as rows
  from (
    select h.last_offset, h.claimed, f."offset" as first_offset, (
        select count(*) from millrace.job_state s where s.lane_id = h.lane_id
      ) as rows, (
        select count(*) from millrace.job_state s
        where s.lane_id = h.lane_id and s."offset" > h.claimed
      ) as ahead
    from (
      select l.lane_id, coalesce((
          select c.to_offset from millrace.job_claim c where c.lane_id = l.lane_id
          order by c.to_offset desc limit 1), 0) as claimed, (
          select j."offset" from millrace.job j where j.lane_id = l.lane_id
          order by j."offset" desc limit 1) as last_offset
      from millrace.job_lane l where l.queue_id = q.queue_id and l.by_range
    ) h
    cross join lateral (
      select j."offset" from millrace.job j where j.lane_id = h.lane_id
      order by j."offset" limit 1
    ) f
  ) e
) lanes
cross join lateral (
  select coalesce(sum(c.to_offset - c.from_offset + 1 - coalesce((
      select sum(a.last_offset - a.first_offset + 1) from millrace.job_ack a
      where a.lane_id = c.lane_id and a.first_offset between c.from_offset and c.to_offset
    ), 0) - (
      select count(*) from millrace.job_state s
      where s.lane_id = c.lane_id and s."offset" between c.from_offset and c.to_offset
        and not exists (select 1 from millrace.job_ack a where a.lane_id = s.lane_id
          and a.first_offset <= s."offset" and a.last_offset >= s."offset"
          and a.first_offset between c.from_offset and c.to_offset)
    )), 0)::bigint as n
  from millrace.job_worker w
  join millrace.job_claim c on c.epoch = w.epoch and c.claim_no >= w.oldest_claim_no
  join millrace.job_lane l on l.lane_id = c.lane_id and l.queue_id = q.queue_id
) running
left join lateral (
  select sum(s.n) filter (where s.status = 'completed') as completed,
    sum(s.n) filter (where s.status = 'waiting') as waiting,
    sum(s.n) filter (where s.status = 'running') as running,
    sum(s.n) filter (where s.status = 'delayed') as delayed,
    sum(s.n) filter (where s.status = 'retrying') as retrying,
    sum(s.n) filter (where s.status = 'blocked') as blocked,
    sum(s.n) filter (where s.status = 'dead') as dead,
    sum(s.n) filter (where s.status = 'cancelled') as cancelled,
    sum(s.n) filter (where s.status = 'quarantined') as quarantined
  from (
    select s.status, count(*)::bigint as n from millrace.job_state s
    where s.queue_id = q.queue_id and s.status = 'waiting' group by 1
    union all
    select s.status, count(*) from millrace.job_state s
    where s.queue_id = q.queue_id and s.status in ('delayed', 'retrying') group by 1
    union all
    select s.status, count(*) from millrace.job_state s
    where s.epoch is not null and s.queue_id = q.queue_id and s.status = 'running' group by 1
    union all
    select s.status, count(*) from millrace.job_state s
    where s.queue_id = q.queue_id and s.status in ('blocked', 'dead', 'cancelled', 'quarantined')
    group by 1
    union all
    -- What was removed stands for its offset only, and is completed before all times.
    select s.status, count(*) from millrace.job_state s
    where s.queue_id = q.queue_id and s.status = 'completed' and s.finished_at > '-infinity'
    group by 1
  ) s
) rows on true
where $1::text[] is null or q.queue_name = any ($1)
order by q.queue_name
