-- Jobs by position, as they are now: a state row says it, else the claim and the acknowledgement of
-- a plain job. A row without a name stands for a job that was removed. $1 lanes, $2 offsets.
-- Rows come with the number of their position in the parameters, from 1. Each table is asked by its
-- key (lateral, limit 1): a join is at times planned as a look at all rows of a lane.
select r.n, j.lane_id, j."offset", q.queue_name, l.tenant_id, coalesce(s.job_key, l.lane_key),
  coalesce(s.priority, l.priority), j.name, j.version, j.payload, j.options,
  case when s.status is not null then s.status when a.settled_at is not null then 'completed'
    when c.epoch is not null then 'running' else 'waiting' end,
  coalesce(s.failures, 0), coalesce(s.crashes, 0), j.enqueued_at,
  case when s.status in ('delayed', 'retrying') then s.run_at end,
  coalesce(s.started_at, c.claimed_at),
  case when s.status is null then a.settled_at else s.finished_at end,
  case when s.status is not null then s.epoch when a.settled_at is null then c.epoch end,
  s.error, e.result, p.progress, s.unique_key,
  case when s.status = 'blocked' then (
    select json_agg(json_build_array(d.parent_lane, d.parent_offset)
      order by d.parent_lane, d.parent_offset)
    from millrace.job_dependency d
    where d.child_lane = j.lane_id and d.child_offset = j."offset" and not d.finished) end
from unnest($1::int[], $2::bigint[]) with ordinality as r(lane_id, "offset", n)
cross join lateral (
  select * from millrace.job k where k.lane_id = r.lane_id and k."offset" = r."offset" limit 1
) j
join millrace.job_lane l on l.lane_id = j.lane_id
join millrace.job_queue q on q.queue_id = l.queue_id
left join lateral (
  select * from millrace.job_state k where k.lane_id = j.lane_id and k."offset" = j."offset" limit 1
) s on true
left join lateral (
  select k.from_offset, k.epoch, k.claimed_at from millrace.job_claim k
  where k.lane_id = j.lane_id and k.to_offset >= j."offset" order by k.to_offset limit 1
) c on c.from_offset <= j."offset"
left join lateral (
  select k.last_offset, k.settled_at from millrace.job_ack k
  where k.lane_id = j.lane_id and k.first_offset <= j."offset"
  order by k.first_offset desc limit 1
) a on a.last_offset >= j."offset"
left join lateral (
  select k.result from millrace.job_result k
  where k.lane_id = j.lane_id and k."offset" = j."offset" limit 1
) e on true
left join lateral (
  select k.progress from millrace.job_progress k
  where k.lane_id = j.lane_id and k."offset" = j."offset" limit 1
) p on true
where s.name is distinct from ''
order by r.n
