-- Workflows. Rule of the hot path as in 0001: a step of a run is one inserted row of its history,
-- a run one row at its start and one at its end. Only what waits (a rest, an awaited event) and
-- who held a run first have rows that change.
--
-- Link n of a history exists once, by its primary key: of two holders the slower one violates it,
-- and its whole transaction is undone. So nothing here asks before it inserts.
--
-- Advisory locks, as in 0002, with one more class: 7320 (hash of a run, 65,536 of them) keeps
-- deliveries to a run apart, and a delivery and its coming to rest. It is taken after 7313 and
-- before all others, ascending. A caller's own transaction may keep it for long, so nobody waits
-- for it for more than a moment: a message then goes to the outbox, and a run that comes to rest
-- goes on.
set local role millrace_owner;

-- Immutable, by the hash of its text.
create table millrace.workflow_template (
  hash text primary key,
  namespace text not null,
  name text not null,
  version text not null,
  definition json not null,
  saved_at timestamptz not null default clock_timestamp()
);

-- born_epoch: who has held it since its start; null: it rested, or it goes through its queue.
create table millrace.workflow_run (
  run_id uuid primary key,
  parent_run uuid,
  started_at timestamptz not null,
  born_epoch bigint,
  parent_step int,
  priority int not null,
  tenant_id text not null,
  namespace text not null,
  name text not null,
  version text not null,
  template_hash text not null,
  identity text,
  run_key text not null,
  queue text not null,
  job_name text not null,
  correlation_id text not null,
  traceparent text,
  input json not null,
  metadata json
);
create unique index workflow_run_identity on millrace.workflow_run
  (tenant_id, namespace, name, identity) where identity is not null;
-- Few different values: the tree keeps them as lists of rows.
create index workflow_run_born on millrace.workflow_run (born_epoch) where born_epoch is not null;

-- state: the run's afterwards, its place in taskStates. rested: nobody held the run after this
-- link.
create table millrace.workflow_history (
  run_id uuid not null,
  at timestamptz not null,
  epoch bigint not null,
  seq int not null,
  state smallint not null,
  rested boolean not null,
  change text not null,
  primary key (run_id, seq)
);

-- A run that is over. Removed when an operator opens it again.
create table millrace.workflow_end (
  run_id uuid primary key,
  ended_at timestamptz not null,
  state text not null,
  result json,
  error json
);
create index workflow_end_time on millrace.workflow_end (ended_at);

-- A run that nobody holds and that no job waits for. wake_at null: only a message wakes it.
create table millrace.workflow_rest (
  run_id uuid primary key,
  wake_at timestamptz,
  state text not null
) with (fillfactor = 80);
create index workflow_rest_due on millrace.workflow_rest (wake_at) where wake_at is not null;

create table millrace.workflow_message (
  run_id uuid not null,
  sent_at timestamptz not null,
  no int not null,
  kind text not null,
  message_id text not null,
  name text not null,
  payload json not null,
  primary key (run_id, no),
  unique (run_id, message_id)
);

-- Messages to runs that somebody's transaction kept locked; stored by whoever has the lock next.
create table millrace.workflow_outbox (
  no bigint generated always as identity primary key,
  run_id uuid not null,
  message_id text not null,
  kind text not null,
  name text not null,
  payload json not null
);
create index workflow_outbox_run on millrace.workflow_outbox (run_id, no);

-- Steps that wait for an event. event_key null: of any key.
create table millrace.workflow_wait (
  run_id uuid not null,
  step int not null,
  tenant_id text not null,
  event_type text not null,
  event_key text,
  unique nulls not distinct (run_id, step, event_type, event_key)
);
create index workflow_wait_event on millrace.workflow_wait (tenant_id, event_type, event_key);

-- Epochs that may hold runs from their start. Without a row in job_worker: dead.
create table millrace.workflow_holder (
  epoch bigint primary key,
  since timestamptz not null default clock_timestamp()
);

-- The functions that are called from outside plan for any number of rows, and look up every row by
-- its index. By itself the server plans anew at each call for the number of rows at hand, which
-- costs more than the call (0.1 ms a statement), and joins a small table by reading all of it,
-- with a plan that it keeps while the table grows.
create function millrace.run_lock(p_run uuid) returns int
language sql immutable parallel safe return uuid_hash(p_run) & 65535;

-- Enqueues jobs with a state row each, delayed or not, all in two statements, and whatever the
-- queue's limit says: they belong to runs that were accepted before.
create function millrace.enqueue_accepted(
  p_queues text[], p_tenants text[], p_keys text[], p_priorities int[], p_names text[],
  p_versions int[], p_payloads json[], p_options json[], p_delays double precision[]
) returns void language plpgsql as $$
declare
  v_now timestamptz := clock_timestamp();
begin
  perform millrace.make_row_lanes(p_queues, p_tenants);
  with numbered as materialized (
    select x.*, nextval('millrace.job_row_offset') as "offset" from (
      select j.*, k.queue_id, l.lane_id from unnest(p_queues, p_tenants, p_keys, p_priorities,
        p_names, p_versions, p_payloads, p_options, p_delays) with ordinality
        as j(queue, tenant_id, job_key, priority, name, version, payload, options, delay_ms, n)
      join millrace.job_queue k on k.queue_name = j.queue
      join millrace.job_lane l on l.queue_id = k.queue_id and l.tenant_id = j.tenant_id
        and l.priority = 0 and l.lane_key = '' and not l.by_range
      order by j.n
    ) x
  ), logged as (
    insert into millrace.job (lane_id, version, "offset", enqueued_at, name, payload, options)
    select x.lane_id, x.version, x."offset", v_now, x.name, x.payload, x.options from numbered x
  )
  insert into millrace.job_state (lane_id, "offset", queue_id, tenant_id, priority, job_key, name,
    status, run_at)
  select x.lane_id, x."offset", x.queue_id, x.tenant_id, x.priority, x.job_key, x.name,
    case when x.delay_ms > 0 then 'delayed' else 'waiting' end,
    v_now + greatest(0, coalesce(x.delay_ms, 0)) * interval '1 millisecond'
  from numbered x;
end $$;

-- Gives runs that nobody holds a job each. Answers with their queues.
create function millrace.enqueue_runs(p_runs uuid[], p_delays double precision[]) returns text[]
language plpgsql as $$
declare
  v record;
begin
  if coalesce(cardinality(p_runs), 0) = 0 then
    return null;
  end if;
  select array_agg(r.queue order by x.n) as queues, array_agg(r.tenant_id order by x.n) as tenants,
    array_agg(r.run_key order by x.n) as keys, array_agg(r.priority order by x.n) as priorities,
    array_agg(r.job_name order by x.n) as names, array_agg(1) as versions,
    array_agg(json_build_object('runId', r.run_id) order by x.n) as payloads,
    array_agg(x.delay_ms order by x.n) as delays
  into v from unnest(p_runs, p_delays) with ordinality as x(run_id, delay_ms, n)
  cross join lateral (
    select k.* from millrace.workflow_run k where k.run_id = x.run_id limit 1
  ) r;
  perform millrace.enqueue_accepted(v.queues, v.tenants, v.keys, v.priorities, v.names, v.versions,
    v.payloads, null, v.delays);
  return (select array_agg(distinct q) from unnest(v.queues) q);
end $$;

-- Stores runs given as the port's NewRun, those that are not there yet; the others give in
-- `known`, by their place from 1 on, the run that has the id or the identity. p_limited: refused
-- when their queue is full. The caller has fenced p_epoch.
create function millrace.insert_runs(
  p_runs json, p_epoch bigint, p_limited boolean, out known json, out woken text[]
) language plpgsql as $$
declare
  v_now timestamptz := clock_timestamp();
  v_stored uuid[];
  v_all_held boolean;
  v_waiting uuid[];
  v_delays double precision[];
  q record;
begin
  with stored as (
    insert into millrace.workflow_run (run_id, parent_run, started_at, born_epoch, parent_step,
      priority, tenant_id, namespace, name, version, template_hash, identity, run_key, queue,
      job_name, correlation_id, traceparent, input, metadata)
    select r."runId", (r.parent ->> 'runId')::uuid, v_now, case when r.held then p_epoch end,
      (r.parent ->> 'step')::int, r.priority, r."tenantId", r.namespace, r.name, r.version,
      r."templateHash", r.identity, r.key, r.queue, r."jobName", r."correlationId", r.traceparent,
      r."inputJson"::json, r."metadataJson"::json
    from json_to_recordset(p_runs) as r("runId" uuid, parent json, held boolean, priority int,
      "tenantId" text, namespace text, name text, version text, "templateHash" text, identity text,
      key text, queue text, "jobName" text, "correlationId" text, traceparent text,
      "inputJson" text, "metadataJson" text)
    -- Of two callers with the same identities neither waits for the other in a circle.
    order by r."tenantId", r.namespace, r.name, r.identity
    on conflict do nothing
    returning workflow_run.run_id, workflow_run.born_epoch
  )
  select coalesce(array_agg(s.run_id), '{}'), coalesce(bool_and(s.born_epoch is not null), true)
    into v_stored, v_all_held from stored s;
  if cardinality(v_stored) < json_array_length(p_runs) then
    select json_object_agg(x.n, coalesce((
        select k.run_id from millrace.workflow_run k
        where k.tenant_id = x.run ->> 'tenantId' and k.namespace = x.run ->> 'namespace'
          and k.name = x.run ->> 'name' and k.identity = x.run ->> 'identity'
      ), (select k.run_id from millrace.workflow_run k
        where k.run_id = (x.run ->> 'runId')::uuid)))
    into known
    from json_array_elements(p_runs) with ordinality as x(run, n)
    where (x.run ->> 'runId')::uuid not in (select unnest(v_stored));
  end if;
  if v_all_held then
    return;
  end if;
  select array_agg(r."runId"), array_agg(r."delayMs") into v_waiting, v_delays
    from json_to_recordset(p_runs) as r("runId" uuid, held boolean, "delayMs" double precision)
    where not r.held and (known is null or r."runId" in (select unnest(v_stored)));
  if p_limited then
    for q in
      select k.queue_name, k.length_max, k.queue_id, count(*) as n
      from json_to_recordset(p_runs) as r(queue text, held boolean)
      join millrace.job_queue k on k.queue_name = r.queue
      where k.length_max is not null and not r.held group by 1, 2, 3
    loop
      if millrace.queue_length(q.queue_id) + q.n > q.length_max then
        raise exception 'queue % holds % jobs at most', q.queue_name, q.length_max
          using errcode = 'MR005';
      end if;
    end loop;
  end if;
  woken := millrace.enqueue_runs(v_waiting, v_delays);
end $$;

-- Refuses an epoch that was declared dead, and keeps it from being so until the transaction ends.
create function millrace.fence_epoch(p_epoch bigint) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(7313, (p_epoch % 2147483647)::int);
  if not exists (select 1 from millrace.job_worker w where w.epoch = p_epoch) then
    raise exception 'epoch % was declared dead', p_epoch using errcode = 'MR002';
  end if;
end $$;

-- Of a transaction that sees one tenant's rows: refuses what is of another.
create function millrace.refuse_other_tenants(p_tenants text[]) returns void
language plpgsql as $$
declare
  v_tenant text := nullif(current_setting('millrace.tenant', true), '');
begin
  if v_tenant is not null and exists (select 1 from unnest(p_tenants) t where t <> v_tenant) then
    raise exception 'a transaction of tenant % cannot reach another tenant', v_tenant
      using errcode = 'insufficient_privilege';
  end if;
end $$;

-- Runs of a caller, in its own transaction or alone. p_epoch: of those that are held.
create function millrace.start_runs(
  p_runs json, p_epoch bigint, out known json, out woken text[]
) language plpgsql security definer set search_path = pg_catalog
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off
set enable_seqscan = off as $$
begin
  if current_setting('millrace.tenant', true) <> '' then
    perform millrace.refuse_other_tenants((
      select array_agg(r."tenantId") from json_to_recordset(p_runs) as r("tenantId" text)));
  end if;
  if p_epoch is not null then
    perform millrace.fence_epoch(p_epoch);
  end if;
  select i.known, i.woken into known, woken from millrace.insert_runs(p_runs, p_epoch, true) i;
end $$;

-- Locks runs against other deliveries, in the order that all keep. Answers with those that
-- somebody's transaction does not let go of, or that are too many: the server has room for some
-- thousand locks.
create function millrace.lock_runs(p_runs uuid[]) returns uuid[] language plpgsql as $$
declare
  v_lock int;
  v_count int := 0;
  v_busy int[] := '{}';
  v_before text := current_setting('lock_timeout');
begin
  -- What was committed before the lock was ours must be seen after it.
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'messages need read committed' using errcode = 'MR001';
  end if;
  for v_lock in select distinct millrace.run_lock(x) from unnest(p_runs) x order by 1 loop
    v_count := v_count + 1;
    continue when v_count <= 500 and pg_try_advisory_xact_lock(7320, v_lock);
    -- Waiting is tried once: not again while what somebody gave up on is still there.
    if v_count > 500 or cardinality(v_busy) > 0 or exists (
      select 1 from unnest(p_runs) x join millrace.workflow_outbox o on o.run_id = x
      where millrace.run_lock(x) = v_lock
    ) then
      v_busy := v_busy || v_lock;
      continue;
    end if;
    begin -- most are gone with the next commit
      perform set_config('lock_timeout', '500ms', true);
      perform pg_advisory_xact_lock(7320, v_lock);
      perform set_config('lock_timeout', v_before, true);
    exception when lock_not_available then
      v_busy := v_busy || v_lock;
    end;
  end loop;
  return (select array_agg(distinct x) from unnest(p_runs) x
    where cardinality(v_busy) > 0 and millrace.run_lock(x) = any (v_busy));
end $$;

-- Stores messages, each for itself, in order; the caller has locked their runs but for those in
-- p_busy, whose messages go to the outbox. p_tenants: runs of others are unknown to the message;
-- null: none. Resting runs are woken. The verbs retry and reset open a run again that ended in
-- error or was cancelled. told: runs that somebody may hold, which got something.
create function millrace.store_messages(
  p_runs uuid[], p_ids text[], p_kinds text[], p_names text[], p_payloads json[], p_tenants text[],
  p_busy uuid[], out deliveries text[], out woken text[], out told uuid[]
) language plpgsql as $$
declare
  v_opened uuid[] := '{}';
  v_asleep uuid[];
begin
  if 'verb' = any (p_kinds) then
    with opened as (
      delete from millrace.workflow_end e
      using (
        select distinct x.run_id from unnest(p_runs, p_ids, p_kinds, p_names, p_tenants)
          as x(run_id, message_id, kind, name, tenant_id)
        where x.kind = 'verb' and x.name in ('retry', 'reset', 'retry_from', 'reset_step')
          and x.run_id <> all (p_busy)
          and (x.tenant_id is null or (select r.tenant_id from millrace.workflow_run r
            where r.run_id = x.run_id) = x.tenant_id)
          and (select m.no from millrace.workflow_message m
            where m.run_id = x.run_id and m.message_id = x.message_id) is null
      ) v
      where e.run_id = v.run_id and e.state in ('error', 'cancelled')
      returning e.run_id
    )
    select coalesce(array_agg(o.run_id), '{}') into v_opened from opened o;
    -- They go on by a job: whoever held them from their start has let go of them.
    update millrace.workflow_run r set born_epoch = null
    where r.run_id = any (v_opened) and r.born_epoch is not null;
  end if;
  -- By the next statement, whose snapshot is younger than the locks.
  select array_agg(case
      when r.run_id is null then 'unknown'
      when (select m.no from millrace.workflow_message m where m.run_id = x.run_id
        and m.message_id = x.message_id) is not null or x.copy > 1 then 'duplicate'
      when (select e.ended_at from millrace.workflow_end e where e.run_id = x.run_id) is not null
        and not (x.run_id = any (p_busy) and x.kind = 'verb'
          and x.name in ('retry', 'reset', 'retry_from', 'reset_step'))
        then 'ended'
      else 'delivered' end order by x.n) into deliveries
  from (
    select u.*, row_number() over (partition by u.run_id, u.message_id order by u.n) as copy
    from unnest(p_runs, p_ids, p_kinds, p_names, p_tenants) with ordinality
      as u(run_id, message_id, kind, name, tenant_id, n)
  ) x
  left join lateral (
    select k.run_id from millrace.workflow_run k
    where k.run_id = x.run_id and (x.tenant_id is null or k.tenant_id = x.tenant_id) limit 1
  ) r on true;
  insert into millrace.workflow_message (run_id, sent_at, no, kind, message_id, name, payload)
  select x.run_id, clock_timestamp(), coalesce((
      select m.no from millrace.workflow_message m where m.run_id = x.run_id
      order by m.no desc limit 1), 0) + row_number() over (partition by x.run_id order by x.n),
    x.kind, x.message_id, x.name, x.payload
  from unnest(p_runs, p_ids, p_kinds, p_names, p_payloads, deliveries) with ordinality
    as x(run_id, message_id, kind, name, payload, delivery, n)
  where x.delivery = 'delivered' and x.run_id <> all (p_busy);
  if cardinality(p_busy) > 0 then
    insert into millrace.workflow_outbox (run_id, message_id, kind, name, payload)
    select x.run_id, x.message_id, x.kind, x.name, x.payload
    from unnest(p_runs, p_ids, p_kinds, p_names, p_payloads, deliveries) with ordinality
      as x(run_id, message_id, kind, name, payload, delivery, n)
    where x.delivery = 'delivered' and x.run_id = any (p_busy) order by x.n;
  end if;
  with woken as (
    delete from millrace.workflow_rest s
    using (
      select distinct x.run_id from unnest(p_runs, deliveries) as x(run_id, delivery)
      where x.delivery = 'delivered' and x.run_id <> all (p_busy)
    ) d where s.run_id = d.run_id
    returning s.run_id
  )
  select coalesce(array_agg(w.run_id), '{}') || v_opened into v_asleep from woken w;
  woken := millrace.enqueue_runs(v_asleep, null);
  select array_agg(distinct x.run_id) into told
    from unnest(p_runs, deliveries) as x(run_id, delivery)
    where x.delivery = 'delivered' and x.run_id <> all (v_asleep) and x.run_id <> all (p_busy);
end $$;

-- Stores what the outbox has for these runs. The caller has locked them.
create function millrace.empty_outbox(p_runs uuid[], out woken text[], out told uuid[])
language plpgsql as $$
declare
  v record;
begin
  with taken as (
    delete from millrace.workflow_outbox o where o.run_id = any (p_runs) returning o.*
  )
  select array_agg(t.run_id order by t.no) as runs, array_agg(t.message_id order by t.no) as ids,
    array_agg(t.kind order by t.no) as kinds, array_agg(t.name order by t.no) as names,
    array_agg(t.payload order by t.no) as payloads
  into v from taken t;
  if v.runs is not null then
    select s.woken, s.told into woken, told from millrace.store_messages(v.runs, v.ids, v.kinds,
      v.names, v.payloads, null, '{}') s;
  end if;
end $$;

-- Locks the runs of these messages and stores them, behind what was sent to them before.
create function millrace.send_messages(
  p_runs uuid[], p_ids text[], p_kinds text[], p_names text[], p_payloads json[], p_tenants text[],
  out deliveries text[], out woken text[], out told uuid[]
) language plpgsql as $$
declare
  v_busy uuid[] := coalesce(millrace.lock_runs(p_runs), '{}');
  v record;
begin
  if exists (select 1 from millrace.workflow_outbox) then
    select * into v from millrace.empty_outbox((
      select array_agg(distinct x) from unnest(p_runs) x where x <> all (v_busy)));
    woken := v.woken;
    told := v.told;
  end if;
  select s.deliveries, send_messages.woken || s.woken, send_messages.told || s.told
    into deliveries, woken, told
    from millrace.store_messages(p_runs, p_ids, p_kinds, p_names, p_payloads, p_tenants, v_busy) s;
end $$;

-- Messages of a caller, in its own transaction or alone.
create function millrace.deliver_messages(
  p_runs uuid[], p_ids text[], p_kinds text[], p_names text[], p_payloads json[],
  out deliveries text[], out woken text[], out told uuid[]
) language plpgsql security definer set search_path = pg_catalog
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off
set enable_seqscan = off as $$
begin
  select s.deliveries, s.woken, s.told into deliveries, woken, told
    from millrace.send_messages(p_runs, p_ids, p_kinds, p_names, p_payloads,
      array_fill(nullif(current_setting('millrace.tenant', true), ''),
        array[cardinality(p_runs)])) s;
end $$;

-- Delivers events to the runs that wait for them, each event once to a run.
create function millrace.deliver_events(
  p_ids uuid[], p_tenants text[], p_types text[], p_keys text[], p_payloads json[],
  out delivered int, out woken text[], out told uuid[]
) language plpgsql security definer set search_path = pg_catalog
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off
set enable_seqscan = off as $$
declare
  v_runs uuid[];
  v_ids text[];
  v_types text[];
  v_payloads json[];
begin
  delivered := 0;
  perform millrace.refuse_other_tenants(p_tenants);
  select array_agg(y.run_id), array_agg('event:' || y.event_id), array_agg(y.event_type),
      array_agg(p_payloads[y.n])
    into v_runs, v_ids, v_types, v_payloads
  from (
    select distinct x.n, w.run_id, x.event_id, x.event_type
    from unnest(p_ids, p_tenants, p_types, p_keys) with ordinality
      as x(event_id, tenant_id, event_type, event_key, n)
    cross join lateral (
      select k.run_id from millrace.workflow_wait k where k.tenant_id = x.tenant_id
        and k.event_type = x.event_type and k.event_key = x.event_key
      union all
      select k.run_id from millrace.workflow_wait k where k.tenant_id = x.tenant_id
        and k.event_type = x.event_type and k.event_key is null
    ) w order by x.n
  ) y;
  if v_runs is null then
    return;
  end if;
  select (select count(*) from unnest(s.deliveries) d where d = 'delivered'), s.woken, s.told
    into delivered, woken, told
    from millrace.send_messages(v_runs, v_ids, array_fill('event'::text,
      array[cardinality(v_runs)]), v_types, v_payloads, null) s;
end $$;

-- Steps for other namespaces, given as the port's NewJob. Answers with their queues.
create function millrace.enqueue_steps(p_jobs json) returns text[] language plpgsql as $$
declare
  v record;
  v_special json;
begin
  select array_agg(j.queue) as queues, array_agg(j."tenantId") as tenants,
    array_agg(j.key) as keys, array_agg(j.priority) as priorities, array_agg(j.name) as names,
    array_agg(j.version) as versions, array_agg(j."payloadJson"::json) as payloads,
    array_agg(j."optionsJson"::json) as options, array_agg(j."delayMs") as delays
  into v from json_to_recordset(p_jobs) as j(queue text, "tenantId" text, key text, priority int,
    name text, version int, "payloadJson" text, "optionsJson" text, "delayMs" double precision,
    "unique" json, "dependsOn" json)
  where j."unique" ->> 'key' is null and json_array_length(j."dependsOn") = 0;
  if v.queues is not null then
    perform millrace.enqueue_accepted(v.queues, v.tenants, v.keys, v.priorities, v.names,
      v.versions, v.payloads, v.options, v.delays);
  end if;
  select json_agg(x.job order by x.n) into v_special
    from json_array_elements(p_jobs) with ordinality as x(job, n)
    where x.job #>> '{unique,key}' is not null or json_array_length(x.job -> 'dependsOn') > 0;
  if v_special is not null then
    perform millrace.enqueue_jobs(v_special, null);
  end if;
  return (select array_agg(distinct j.queue) from json_to_recordset(p_jobs) as j(queue text));
end $$;

-- The part of commit_runs that few commits need. A run that has ended tells its parent's step.
create function millrace.commit_with_effects(
  p_epoch bigint, p_runs uuid[], p_seqs int[], p_states smallint[], p_changes text[],
  p_end_runs uuid[], p_end_states text[], p_end_results json[], p_end_errors json[],
  p_rests json, p_effects json, out woken text[], out unread uuid[], out told uuid[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off
set enable_seqscan = off as $$
declare
  v_now timestamptz := clock_timestamp();
  m record;
  v_tried uuid[];
  v_resting uuid[] := '{}';
begin
  select array_agg(x.run_id) as runs, array_agg(x.message_id) as ids, array_agg(x.kind) as kinds,
    array_agg(x.name) as names, array_agg(x.payload) as payloads, array_agg(x.tenant_id) as tenants
  into m from (
    select e."runId" as run_id, e."messageId" as message_id, e.kind, e.name,
      e."payloadJson"::json as payload, e."tenantId" as tenant_id
    from json_to_recordset(p_effects -> 'messages') as e("runId" uuid, "messageId" text, kind text,
      name text, "payloadJson" text, "tenantId" text)
    union all
    select r.parent_run, 'child:' || r.run_id, 'child', r.parent_step::text,
      json_build_object('runId', r.run_id, 'state', e.state, 'result', e.result, 'error', e.error),
      r.tenant_id
    from unnest(p_end_runs, p_end_states, p_end_results, p_end_errors)
      as e(run_id, state, result, error)
    cross join lateral (
      select k.* from millrace.workflow_run k where k.run_id = e.run_id limit 1
    ) r where r.parent_run is not null
  ) x;
  if m.runs is not null then
    select s.woken, s.told into woken, told from millrace.send_messages(m.runs, m.ids, m.kinds,
      m.names, m.payloads, m.tenants) s;
  end if;
  if p_rests is not null then
    select array_agg(r.run) into v_tried from json_to_recordset(p_rests) as r(run uuid)
      where pg_try_advisory_xact_lock(7320, millrace.run_lock(r.run));
    if exists (select 1 from millrace.workflow_outbox) then
      select commit_with_effects.woken || b.woken, commit_with_effects.told || b.told
        into woken, told from millrace.empty_outbox(v_tried) b;
    end if;
    -- By the next statement, whose snapshot is younger than the locks.
    select coalesce(array_agg(r.run) filter (where r.rests), '{}'),
        array_agg(r.run) filter (where not r.rests)
      into v_resting, unread
    from (
      select x.run, x.run = any (coalesce(v_tried, '{}')) and coalesce((
        select g.no from millrace.workflow_message g where g.run_id = x.run
        order by g.no desc limit 1), 0) <= x.read as rests
      from json_to_recordset(p_rests) as x(run uuid, read int)
    ) r;
  end if;
  insert into millrace.workflow_history
    select x.run_id, v_now, p_epoch, x.seq, x.state, x.run_id = any (v_resting), x.change
    from unnest(p_runs, p_seqs, p_states, p_changes) as x(run_id, seq, state, change);
  if cardinality(v_resting) > 0 then
    insert into millrace.workflow_rest (run_id, wake_at, state)
    select r.run, to_timestamp(r."wakeAt" / 1000), r.state
    from json_to_recordset(p_rests) as r(run uuid, "wakeAt" double precision, state text)
    where r.run = any (v_resting)
    on conflict (run_id) do update set wake_at = excluded.wake_at, state = excluded.state;
    update millrace.workflow_run r set born_epoch = null
    where r.run_id = any (v_resting) and r.born_epoch is not null;
  end if;
  if p_end_runs is not null then
    insert into millrace.workflow_end
      select e.run_id, v_now, e.state, e.result, e.error
      from unnest(p_end_runs, p_end_states, p_end_results, p_end_errors)
        as e(run_id, state, result, error);
    delete from millrace.workflow_wait w where w.run_id = any (p_end_runs);
  end if;
  if p_effects is null then
    return;
  end if;
  delete from millrace.workflow_wait w
    using json_to_recordset(p_effects -> 'unwaits') as x("runId" uuid, step int)
    where w.run_id = x."runId" and w.step = x.step;
  insert into millrace.workflow_wait (run_id, step, tenant_id, event_type, event_key)
    select x."runId", x.step, x."tenantId", x."eventType", x."eventKey"
    from json_to_recordset(p_effects -> 'waits') as x("runId" uuid, step int, "tenantId" text,
      "eventType" text, "eventKey" text)
    on conflict do nothing;
  if p_effects -> 'starts' is not null then
    woken := woken || (select i.woken
      from millrace.insert_runs(p_effects -> 'starts', p_epoch, false) i);
  end if;
  if p_effects -> 'jobs' is not null then
    woken := woken || millrace.enqueue_steps(p_effects -> 'jobs');
  end if;
end $$;

-- Adds a link to each run's history, with all that goes along with it, or raises and changes
-- nothing: MR002 when the epoch is dead, a violation of workflow_history_pkey when somebody else
-- added one of the links. p_end_… (parallel arrays), p_rests and p_effects are null when there is
-- none of it. p_strict: answers with the transaction's number. unread: runs that do not rest,
-- because they have messages beyond what they read or somebody is delivering one.
create function millrace.commit_runs(
  p_epoch bigint, p_runs uuid[], p_seqs int[], p_states smallint[], p_changes text[],
  p_end_runs uuid[], p_end_states text[], p_end_results json[], p_end_errors json[],
  p_rests json, p_effects json, p_strict boolean,
  out number text, out woken text[], out unread uuid[], out told uuid[]
) language plpgsql
set plan_cache_mode = force_generic_plan as $$
begin
  if p_strict then
    number := pg_current_xact_id();
  end if;
  perform pg_advisory_xact_lock_shared(7313, (p_epoch % 2147483647)::int);
  if not exists (select 1 from millrace.job_worker w where w.epoch = p_epoch) then
    raise exception 'epoch % was declared dead', p_epoch using errcode = 'MR002';
  end if;
  if p_end_runs is not null or p_rests is not null or p_effects is not null then
    select c.woken, c.unread, c.told into woken, unread, told from millrace.commit_with_effects(
      p_epoch, p_runs, p_seqs, p_states, p_changes, p_end_runs, p_end_states, p_end_results,
      p_end_errors, p_rests, p_effects) c;
    return;
  end if;
  insert into millrace.workflow_history
    select x.run_id, clock_timestamp(), p_epoch, x.seq, x.state, false, x.change
    from unnest(p_runs, p_seqs, p_states, p_changes) as x(run_id, seq, state, change);
end $$;

-- Gives resting runs whose time has come a job each. Whoever delivers to one of them meanwhile has
-- locked its row, or waits for ours and finds it gone. Stores what the outbox has, as far as it
-- can.
create function millrace.wake_runs(
  p_limit int, out runs int, out next_ms double precision, out woken text[], out told uuid[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off
set enable_seqscan = off as $$
declare
  v_runs uuid[];
begin
  with due as (
    select r.run_id from millrace.workflow_rest r where r.wake_at <= clock_timestamp()
    order by r.wake_at limit p_limit for update skip locked
  ), gone as (
    delete from millrace.workflow_rest r using due d where r.run_id = d.run_id returning r.run_id
  )
  select array_agg(g.run_id) into v_runs from gone g;
  runs := coalesce(cardinality(v_runs), 0);
  woken := millrace.enqueue_runs(v_runs, null);
  if exists (select 1 from millrace.workflow_outbox) then
    select array_agg(distinct o.run_id) into v_runs from (
      select x.run_id from millrace.workflow_outbox x order by x.no limit least(p_limit, 500)
    ) o where pg_try_advisory_xact_lock(7320, millrace.run_lock(o.run_id));
    select wake_runs.woken || b.woken, b.told into woken, told from millrace.empty_outbox(v_runs) b;
  end if;
  -- Without any: null, which greatest() would pass over.
  select greatest(0, extract(epoch from r.wake_at - clock_timestamp()) * 1000) into next_ms
    from millrace.workflow_rest r where r.wake_at is not null order by r.wake_at limit 1;
  -- Somebody else is waking them: look again soon, not at once.
  if runs = 0 and next_ms < 20 then
    next_ms := 20;
  end if;
  if exists (select 1 from millrace.workflow_outbox) then
    next_ms := least(next_ms, 50);
  end if;
end $$;

-- Gives runs that a dead epoch held from their start a job each, p_limit at most; more: some are
-- left.
create function millrace.recover_runs(
  p_limit int, out runs int, out more boolean, out woken text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off
set enable_seqscan = off as $$
declare
  v_epoch bigint;
  v_runs uuid[];
begin
  runs := 0;
  more := false;
  for v_epoch in
    select h.epoch from millrace.workflow_holder h
    where not exists (select 1 from millrace.job_worker w where w.epoch = h.epoch) order by 1
  loop
    -- Not while a commit of it is under way, nor beside another who recovers it.
    continue when not pg_try_advisory_xact_lock(7313, (v_epoch % 2147483647)::int);
    continue when not exists (select 1 from millrace.workflow_holder h where h.epoch = v_epoch)
      or exists (select 1 from millrace.job_worker w where w.epoch = v_epoch);
    with taken as (
      update millrace.workflow_run r set born_epoch = null from (
        select k.run_id from millrace.workflow_run k where k.born_epoch = v_epoch
          and (select e.ended_at from millrace.workflow_end e where e.run_id = k.run_id) is null
        limit p_limit - runs
      ) k where r.run_id = k.run_id returning r.run_id
    )
    select array_agg(t.run_id) into v_runs from taken t;
    runs := runs + coalesce(cardinality(v_runs), 0);
    woken := woken || millrace.enqueue_runs(v_runs, null);
    if runs >= p_limit then
      more := true;
      return;
    end if;
    delete from millrace.workflow_holder h where h.epoch = v_epoch;
  end loop;
end $$;

-- Removes runs that ended before that, with all that belongs to them. Returns how many.
create function millrace.prune_runs(p_older_ms double precision, p_limit int) returns int
language plpgsql security definer set search_path = pg_catalog
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off
set enable_seqscan = off as $$
declare
  v_runs uuid[];
begin
  with old as (
    select e.run_id from millrace.workflow_end e
    where e.ended_at <= clock_timestamp() - p_older_ms * interval '1 millisecond'
    order by e.ended_at limit p_limit for update skip locked
  ), gone as (
    delete from millrace.workflow_end e using old o where e.run_id = o.run_id returning e.run_id
  )
  select array_agg(g.run_id) into v_runs from gone g;
  delete from millrace.workflow_history h where h.run_id = any (v_runs);
  delete from millrace.workflow_message g where g.run_id = any (v_runs);
  delete from millrace.workflow_wait w where w.run_id = any (v_runs);
  delete from millrace.workflow_rest r where r.run_id = any (v_runs);
  delete from millrace.workflow_run r where r.run_id = any (v_runs);
  return coalesce(cardinality(v_runs), 0);
end $$;

-- Row-level security as in 0001. Most tables have their tenant by their run.
do $rls$
declare
  t text;
begin
  foreach t in array array['workflow_template', 'workflow_run', 'workflow_history', 'workflow_end',
      'workflow_rest', 'workflow_message', 'workflow_outbox', 'workflow_wait',
      'workflow_holder'] loop
    execute format('alter table millrace.%I enable row level security', t);
    execute format('alter table millrace.%I force row level security', t);
    execute format('create policy engine on millrace.%I to millrace_worker, millrace_owner
      using (true) with check (true)', t);
    execute format('grant select, insert, delete on millrace.%I to millrace_worker', t);
  end loop;
  foreach t in array array['workflow_run', 'workflow_wait'] loop
    execute format('create policy tenant_reads on millrace.%I for select to millrace_app
      using (tenant_id = current_setting(''millrace.tenant'', true))', t);
    execute format('grant select on millrace.%I to millrace_app', t);
  end loop;
  foreach t in array array['workflow_history', 'workflow_end', 'workflow_rest',
      'workflow_message'] loop
    execute format('create policy tenant_reads on millrace.%I for select to millrace_app
      using (run_id in (select r.run_id from millrace.workflow_run r))', t);
    execute format('grant select on millrace.%I to millrace_app', t);
  end loop;
end
$rls$;
create policy everyone_reads on millrace.workflow_template for select to millrace_app using (true);
grant select on millrace.workflow_template to millrace_app;
-- What was done stays as it was written: only who holds a run, and until when it rests, change.
grant update on millrace.workflow_rest, millrace.workflow_run to millrace_worker;

revoke execute on all functions in schema millrace from public;
grant execute on all functions in schema millrace to millrace_worker;
grant execute on function millrace.start_runs, millrace.deliver_messages, millrace.deliver_events
  to millrace_app;
reset role;
