-- After limits changed: the chain of a queue begins anew from what really runs. What runs: open
-- claims of live epochs, and state rows. Tokens stay while their rate does: each process may set
-- its limits when it starts.
-- $1 queue id, $2 whether the queue's rate is what it was, $3 whether that of its keys is.
with held as (
  select l.tenant_id, l.lane_key, sum(c.to_offset - c.from_offset + 1 - coalesce((
    select sum(a.last_offset - a.first_offset + 1) from millrace.job_ack a
    where a.lane_id = c.lane_id and a.first_offset between c.from_offset and c.to_offset
  ), 0) - (
    select count(*) from millrace.job_state s
    where s.lane_id = c.lane_id and s."offset" between c.from_offset and c.to_offset
  )) as n
  from millrace.job_worker w
  join millrace.job_claim c on c.epoch = w.epoch and c.claim_no >= w.oldest_claim_no
  join millrace.job_lane l on l.lane_id = c.lane_id and l.queue_id = $1
  group by 1, 2
  union all
  select s.tenant_id, s.job_key, count(*) from millrace.job_state s
  where s.queue_id = $1 and s.epoch is not null group by 1, 2
), scoped as (
  select '' as scope, sum(n) as n from held
  union all
  select millrace.permit_scope(tenant_id, lane_key), sum(n) from held group by 1
)
insert into millrace.job_permit (queue_id, scope, seq, running, tokens, counted_at)
select $1, k.scope, coalesce(p.seq, 0) + 1, coalesce(n.n, 0), coalesce(
    case when p.seq is null or not r.same then r.rate_max
      else least(r.rate_max, p.tokens + r.rate_max
        * greatest(0, extract(epoch from clock_timestamp() - p.counted_at) * 1000) / r.rate_per_ms)
    end, 0), greatest(clock_timestamp(), p.counted_at)
from (
  select scope from scoped union select p.scope from millrace.job_permit p where p.queue_id = $1
) k
join millrace.job_queue q on q.queue_id = $1
cross join lateral (
  select case when k.scope = '' then q.rate_max else q.key_rate_max end as rate_max,
    case when k.scope = '' then q.rate_per_ms else q.key_rate_per_ms end as rate_per_ms,
    case when k.scope = '' then $2::boolean else $3::boolean end as same
) r
left join lateral (
  select l.seq, l.tokens, l.counted_at from millrace.job_permit l
  where l.queue_id = $1 and l.scope = k.scope order by l.seq desc limit 1
) p on true
left join (select scope, sum(n) as n from scoped group by 1) n on n.scope = k.scope
