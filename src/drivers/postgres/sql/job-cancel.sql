-- Cancels jobs that have not come to an end. One that runs keeps the epoch that has it, until that
-- lets go of it; a plain one gets its row now. The caller holds the locks of job-change-locks.
-- $1 lanes, $2 offsets. Rows: lane, offset.
with picked as (
  select j.lane_id, j."offset", j.name, j.enqueued_at, l.queue_id, l.tenant_id, l.priority,
    l.lane_key, s.status, c.epoch, c.claim_no, c.claimed_at
  from unnest($1::int[], $2::bigint[]) as r(lane_id, "offset")
  join millrace.job j on j.lane_id = r.lane_id and j."offset" = r."offset"
  join millrace.job_lane l on l.lane_id = j.lane_id
  left join millrace.job_state s on s.lane_id = j.lane_id and s."offset" = j."offset"
  left join lateral (
    select k.from_offset, k.epoch, k.claim_no, k.claimed_at from millrace.job_claim k
    where k.lane_id = j.lane_id and k.to_offset >= j."offset" order by k.to_offset limit 1
  ) c on c.from_offset <= j."offset"
  where case when s.status is not null
    then s.status in ('blocked', 'delayed', 'waiting', 'running', 'retrying')
    else not exists (
      select 1 from (
        select a.last_offset from millrace.job_ack a
        where a.lane_id = j.lane_id and a.first_offset <= j."offset"
        order by a.first_offset desc limit 1
      ) a where a.last_offset >= j."offset"
    ) end
), plain as (
  insert into millrace.job_state (lane_id, "offset", queue_id, tenant_id, priority, job_key, name,
    status, run_at, epoch, claim_no, started_at, finished_at)
  select p.lane_id, p."offset", p.queue_id, p.tenant_id, p.priority, p.lane_key, p.name,
    'cancelled', p.enqueued_at, w.epoch, p.claim_no, p.claimed_at, clock_timestamp()
  from picked p left join millrace.job_worker w on w.epoch = p.epoch
  where p.status is null
  on conflict do nothing
  returning lane_id, "offset"
), rows as (
  update millrace.job_state s set status = 'cancelled', finished_at = clock_timestamp()
  from picked p where s.lane_id = p.lane_id and s."offset" = p."offset" and p.status is not null
  returning s.lane_id, s."offset"
)
select * from plain union all select * from rows
