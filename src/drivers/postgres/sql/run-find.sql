-- Runs as they stand, in the order asked. $1 ids. A run without a history is pending since its start.
-- epoch: who was born with it, or wrote its last change and is still registered.
select r.run_id, r.tenant_id, r.namespace, r.name, r.version, r.template_hash, r.identity, r.run_key,
  r.priority, r.correlation_id, r.traceparent, r.parent_run, r.parent_step, r.input::text,
  r.metadata::text, r.queue, r.job_name, extract(epoch from r.started_at)::float8 * 1000,
  coalesce(h.state, 0), extract(epoch from coalesce(h.at, r.started_at))::float8 * 1000,
  coalesce(h.seq, 0), extract(epoch from e.ended_at)::float8 * 1000, e.result::text, e.error::text,
  extract(epoch from s.wake_at)::float8 * 1000, s.run_id is not null,
  case when e.run_id is null and s.run_id is null then coalesce(r.born_epoch, (
    select w.epoch from millrace.job_worker w where w.epoch = h.epoch and not h.rested
  )) end
from unnest($1::uuid[]) with ordinality as x(run_id, n)
join millrace.workflow_run r on r.run_id = x.run_id
left join lateral (
  select k.state, k.at, k.seq, k.epoch, k.rested from millrace.workflow_history k
  where k.run_id = r.run_id order by k.seq desc limit 1
) h on true
left join millrace.workflow_end e on e.run_id = r.run_id
left join millrace.workflow_rest s on s.run_id = r.run_id
order by x.n
