-- For those who look after runs: investigations, and histories as rows. A history keeps states and
-- kinds by their places in the lists of core/workflow; the functions here name them again. Nothing
-- here is on a hot path, and nothing of it writes to a run.
set local role millrace_owner;

-- An investigation record: opening or closing one never runs anything again. snapshot: how the run
-- looked. It stays when its run is removed.
create table millrace.workflow_dead_letter (
  entry_id uuid primary key,
  run_id uuid not null,
  tenant_id text not null,
  reason text not null check (reason in ('staleness_timeout', 'max_retries_exceeded',
    'dependency_cycle_detected', 'worker_unavailable', 'manual_dlq')),
  status text not null default 'pending' check (status in ('pending', 'manually_resolved',
    'permanently_failed', 'cancelled')),
  state text not null,
  entered_at timestamptz not null default clock_timestamp(),
  resolved_at timestamptz,
  resolved_by text,
  notes text,
  snapshot json not null,
  check ((status = 'pending') = (resolved_at is null))
);
create unique index workflow_dead_letter_pending on millrace.workflow_dead_letter (run_id)
  where status = 'pending';
create index workflow_dead_letter_run on millrace.workflow_dead_letter (run_id);

create function millrace.task_state_name(p_place int) returns text
language sql immutable parallel safe return (array['pending', 'initializing', 'enqueuing_steps',
  'steps_in_process', 'evaluating_results', 'waiting_for_dependencies', 'waiting_for_retry',
  'blocked_by_failures', 'complete', 'error', 'cancelled', 'resolved_manually'])[p_place + 1];

create function millrace.step_state_name(p_place int) returns text
language sql immutable parallel safe return (array['pending', 'enqueued', 'in_progress',
  'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration', 'waiting_for_retry',
  'complete', 'error', 'cancelled', 'resolved_manually'])[p_place + 1];

create function millrace.step_kind_name(p_place int) returns text
language sql immutable parallel safe return (array['standard', 'decision', 'deferred_convergence',
  'batchable', 'batch_worker', 'run', 'sleep', 'event', 'signal', 'approval', 'child'])[p_place + 1];

-- Transitions of one run as its changes have them, in order; step -1 is the run itself.
create function millrace.run_transitions(p_run uuid)
returns table (seq int, n bigint, step int, from_place int, to_place int, at timestamptz,
  done_by text, reason text, sort_key bigint, most_recent boolean)
language sql stable as $$
  select x.seq, x.n, x.step, coalesce(lag(x.place) over w, 0), x.place, x.at, x.done_by, x.reason,
    row_number() over w, lead(x.place) over w is null
  from (
    select h.seq, row_number() over (order by h.seq, i) as n, h.t[i] as step, h.t[i + 1] as place,
      h.at, h.done_by, h.reason
    from (
      select k.seq, array(select e::int from json_array_elements_text(c.change -> 't') e) as t,
        to_timestamp((c.change ->> 'a')::double precision / 1000) as at,
        c.change ->> 'b' as done_by, c.change ->> 'y' as reason
      from millrace.workflow_history k
      cross join lateral (select k.change::json as change) c
      where k.run_id = p_run
    ) h
    cross join lateral generate_series(1, cardinality(h.t) - 1, 2) i
  ) x
  window w as (partition by x.step order by x.n)
$$;

-- Steps of one run: they are numbered from 0 in the order in which they were created.
create function millrace.run_steps(p_run uuid)
returns table (step int, step_name text, kind text, template text)
language sql stable as $$
  select (row_number() over (order by h.seq, c.i) - 1)::int, c.created ->> 0,
    millrace.step_kind_name((c.created ->> 1)::int),
    case when c.created ->> 2 = '0' then c.created ->> 0 else c.created ->> 2 end
  from millrace.workflow_history h
  cross join lateral json_array_elements(h.change::json -> 'c') with ordinality c(created, i)
  where h.run_id = p_run
$$;

create view millrace.task_transitions with (security_invoker = true) as
select r.run_id as task_uuid, r.tenant_id, r.namespace, r.name, t.sort_key,
  millrace.task_state_name(t.from_place) as from_state,
  millrace.task_state_name(t.to_place) as to_state, t.at, t.done_by, t.reason, t.seq,
  t.most_recent
from millrace.workflow_run r
cross join lateral millrace.run_transitions(r.run_id) t
where t.step = -1;

create view millrace.workflow_step_transitions with (security_invoker = true) as
select r.run_id as task_uuid, r.tenant_id, r.namespace, r.name, t.step, s.step_name, s.kind,
  t.sort_key, millrace.step_state_name(t.from_place) as from_state,
  millrace.step_state_name(t.to_place) as to_state, t.at, t.done_by, t.reason, t.seq,
  t.most_recent
from millrace.workflow_run r
cross join lateral millrace.run_transitions(r.run_id) t
join lateral millrace.run_steps(r.run_id) s on s.step = t.step
where t.step >= 0;

-- One row for each result: of a try that ended, well or not, and of what somebody said by hand.
-- execution_ms: from the begin of that try; null where none had begun.
create view millrace.workflow_step_result_audit with (security_invoker = true) as
select r.run_id as task_uuid, r.tenant_id, r.namespace, r.name, t.step, s.step_name, t.attempt,
  t.to_place <> 4 as success, t.at, t.done_by as worker_id, r.correlation_id,
  case when t.begun_at is not null
    then greatest(0, extract(epoch from t.at - t.begun_at) * 1000)::double precision
  end as execution_ms,
  f.fact ->> 'r' as result, f.fact -> 'e' as error, t.reason, t.seq
from millrace.workflow_run r
cross join lateral (
  select a.*, max(a.at) filter (where a.to_place = 2) over w as begun_at,
    count(*) filter (where a.to_place = 2) over w as attempt
  from millrace.run_transitions(r.run_id) a where a.step >= 0
  window w as (partition by a.step order by a.n)
) t
join lateral millrace.run_steps(r.run_id) s on s.step = t.step
left join lateral (
  select x as fact from millrace.workflow_history h
  cross join lateral json_array_elements(h.change::json -> 'f') x
  where h.run_id = r.run_id and h.seq = t.seq and (x ->> 's')::int = t.step
  limit 1
) f on true
where t.to_place in (3, 4) or t.to_place in (6, 9) and t.from_place not in (3, 4);

-- Row-level security as in 0001.
alter table millrace.workflow_dead_letter enable row level security;
alter table millrace.workflow_dead_letter force row level security;
create policy engine on millrace.workflow_dead_letter to millrace_worker, millrace_owner
  using (true) with check (true);
create policy tenant_reads on millrace.workflow_dead_letter for select to millrace_app
  using (tenant_id = current_setting('millrace.tenant', true));
grant select, insert, update on millrace.workflow_dead_letter to millrace_worker;
grant select on millrace.workflow_dead_letter to millrace_app;
grant select on millrace.task_transitions, millrace.workflow_step_transitions,
  millrace.workflow_step_result_audit to millrace_app, millrace_worker;
revoke execute on function millrace.task_state_name, millrace.step_state_name,
  millrace.step_kind_name, millrace.run_transitions, millrace.run_steps from public;
grant execute on function millrace.task_state_name, millrace.step_state_name,
  millrace.step_kind_name, millrace.run_transitions, millrace.run_steps
  to millrace_app, millrace_worker;
reset role;
