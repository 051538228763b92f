-- Makes jobs wait again that came to a bad end, with their tries counted anew. Not one that a
-- worker still has, nor one whose unique key another unfinished job has by now. One that saw workers
-- die stays a suspect: it runs alone. One whose parents are not all at an end waits for them again.
-- $1 lanes, $2 offsets. Rows: lane, offset.
with picked as (
  select s.lane_id, s."offset", s.queue_id, s.tenant_id, s.unique_key,
    row_number() over (partition by s.queue_id, s.tenant_id, s.unique_key
      order by s.lane_id, s."offset") as turn
  from unnest($1::int[], $2::bigint[]) as r(lane_id, "offset")
  join millrace.job_state s on s.lane_id = r.lane_id and s."offset" = r."offset"
  where s.status in ('dead', 'cancelled', 'quarantined')
    and not exists (select 1 from millrace.job_worker w where w.epoch = s.epoch)
)
update millrace.job_state s set status = case when b.waits then 'blocked' else 'waiting' end,
  parents_left = case when b.waits then -1 else 0 end, run_at = clock_timestamp(), failures = 0,
  crashes = least(s.crashes, 1), epoch = null, claim_no = null, started_at = null,
  finished_at = null
from picked p
cross join lateral (
  select exists (
    select 1 from millrace.job_dependency d
    where d.child_lane = p.lane_id and d.child_offset = p."offset" and not d.finished
      and millrace.job_outcome(d.parent_lane, d.parent_offset) is null
  ) as waits
) b
where s.lane_id = p.lane_id and s."offset" = p."offset"
  and (p.unique_key is null or p.turn = 1 and not exists (
    select 1 from millrace.job_state o
    where o.queue_id = p.queue_id and o.tenant_id = p.tenant_id and o.unique_key = p.unique_key
      and o.status in ('blocked', 'delayed', 'waiting', 'running', 'retrying')
  ))
returning s.lane_id, s."offset"
