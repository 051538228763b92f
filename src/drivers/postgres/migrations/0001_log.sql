-- The log, its groups, and what went wrong. Rule of the hot path: inserts only; the latest value is
-- the maximum of an index; what is exceptional (a failure, a staged event) may have a row of its own.
-- Runs in one transaction as the connecting user; every table is forced under row-level security.

-- Roles are cluster-wide, so another database may have made them already.
do $roles$
declare
  wanted text;
begin
  foreach wanted in array array['millrace_owner', 'millrace_worker', 'millrace_app'] loop
    begin
      execute format('create role %I nologin', wanted);
    exception when duplicate_object or unique_violation then
      null;
    end;
    begin
      execute format('grant %I to current_user', wanted);
    exception when invalid_grant_operation then
      null; -- granted to oneself: the caller is that role
    end;
  end loop;
end
$roles$;

create schema if not exists millrace authorization millrace_owner;
set local role millrace_owner;
grant usage on schema millrace to millrace_worker, millrace_app;

-- What a database was made with; read once by every process that connects.
create table millrace.setting (
  name text primary key,
  value json not null
);

-- One immutable fact a row; (partition, offset) is dense and in commit order.
-- correlation_id is null when it is the default (the key, else the event id): 37 bytes saved a row.
create table millrace.event (
  "partition" int not null,
  "offset" bigint not null,
  event_id uuid not null,
  event_type text not null,
  version int not null,
  tenant_id text not null,
  key text,
  occurred_at timestamptz not null,
  correlation_id text,
  causation_id uuid,
  payload json not null,
  metadata json,
  primary key ("partition", "offset")
);
-- One index answers three questions: is it a duplicate, which event is this, what did a tenant do
-- in order of time (ids are UUIDv7).
create unique index event_tenant_id on millrace.event (tenant_id, event_id);
create index event_key on millrace.event (tenant_id, key);
-- Empty unless a caller sets a correlation of his own, so it costs nothing otherwise.
create index event_correlation on millrace.event (tenant_id, correlation_id)
  where correlation_id is not null;
-- Rare types and time ranges without a tree entry per event: measured free on the write path
-- (9.0 and 9.2 µs of server CPU a row without and with it; a b-tree costs about 1.2 µs).
create index event_summary on millrace.event
  using brin (event_type text_bloom_ops, occurred_at timestamptz_minmax_multi_ops)
  with (pages_per_range = 64, autosummarize = on);

-- Events published inside a caller's own transaction wait here until a sequencer appends them, so
-- that a long transaction never holds a partition's lock. xid lets the sequencer start its scan
-- behind everything already done, whatever dead rows a pinned horizon keeps.
create table millrace.staged_event (
  xid xid8 not null default pg_current_xact_id(),
  seq bigint generated always as identity,
  "partition" int not null,
  event_id uuid not null,
  event_type text not null,
  version int not null,
  tenant_id text not null,
  key text,
  occurred_at timestamptz not null,
  correlation_id text,
  causation_id uuid,
  payload json not null,
  metadata json,
  primary key (xid, seq)
);

-- A named subscriber of events; the types decide which events count as processed by it.
create table millrace.consumer_group (
  group_name text primary key,
  event_types text[] not null,
  registered_at timestamptz not null default clock_timestamp()
);

-- A process that handles events; one heartbeat for all it does.
create table millrace.worker (
  worker_id uuid primary key,
  groups text[] not null,
  started_at timestamptz not null default clock_timestamp(),
  heartbeat_at timestamptz not null default clock_timestamp()
);

-- Who may settle a group's partition: the row with the highest epoch. No worker: free.
create table millrace.lease (
  group_name text not null,
  "partition" int not null,
  epoch int not null,
  worker_id uuid,
  taken_at timestamptz not null default clock_timestamp(),
  primary key (group_name, "partition", epoch)
);

-- One row per settled batch. position: every offset up to it is settled; ahead: settled offsets
-- beyond it. seq is a chain: two owners can never both append link n, which fences the slower one.
create table millrace.group_cursor (
  group_name text not null,
  "partition" int not null,
  seq bigint not null,
  epoch int not null,
  "position" bigint not null,
  ahead bigint[],
  settled_at timestamptz not null default clock_timestamp(),
  primary key (group_name, "partition", seq)
);
create index group_cursor_position on millrace.group_cursor (group_name, "partition", "position");

-- What a group could not handle, and what waits behind it. By reference: the event stays in the log.
--   retrying -> (success) row removed | dead -> retrying (redrive) | skipped | discarded
--   parked: behind a retrying or dead event of its key; becomes retrying when it is first in line
create table millrace.event_failure (
  group_name text not null,
  "partition" int not null,
  "offset" bigint not null,
  event_id uuid not null,
  event_type text not null,
  tenant_id text not null,
  key text,
  status text not null check (
    status in ('retrying', 'parked', 'dead', 'skipped', 'discarded', 'succeeded')
  ),
  attempts int not null,
  next_attempt_at timestamptz,
  failed_at timestamptz,
  reason text,
  error_code text,
  fingerprint text,
  detail text,
  edited_payload json,
  was_dead boolean not null default false,
  primary key (group_name, "partition", "offset")
);
create index event_failure_lane on millrace.event_failure
  (group_name, "partition", tenant_id, (coalesce(key, '')), "offset")
  where status in ('retrying', 'parked', 'dead');
create index event_failure_due on millrace.event_failure (group_name, "partition", next_attempt_at)
  where status = 'retrying';
create index event_failure_dead on millrace.event_failure (tenant_id, failed_at desc, event_id)
  where was_dead;

-- Appends rows given as parallel arrays, sorted by partition; p_counts says how many belong to each
-- of p_partitions (ascending, so that no two appenders wait for each other in a circle).
-- The lock is one statement, the read of the last offset the next: a statement that does both reads
-- with a snapshot older than its lock and loses rows. Returns the first offset per partition.
create function millrace.append_events(
  p_partitions int[], p_counts int[], p_ids uuid[], p_types text[], p_versions int[],
  p_tenants text[], p_keys text[], p_times timestamptz[], p_correlations text[],
  p_causations uuid[], p_payloads json[], p_metadata json[]
) returns bigint[] language plpgsql as $$
declare
  v_from int := 1;
  v_to int;
  v_head bigint;
  v_first bigint[] := '{}';
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'append needs read committed' using errcode = 'MR001';
  end if;
  for i in 1 .. coalesce(array_length(p_partitions, 1), 0) loop
    perform pg_advisory_xact_lock(7305, p_partitions[i]);
    select e."offset" into v_head from millrace.event e
      where e."partition" = p_partitions[i] order by e."offset" desc limit 1;
    v_head := coalesce(v_head, 0);
    v_to := v_from + p_counts[i] - 1;
    -- A range of the ordinality, not slices of the arrays: copying those costs more than reading
    -- past the rows of other partitions, and nearly every batch has one partition only.
    insert into millrace.event
    select p_partitions[i], v_head + x.n - v_from + 1, x.event_id, x.event_type, x.version,
      x.tenant_id, x.key, x.occurred_at, x.correlation_id, x.causation_id, x.payload, x.metadata
    from unnest(p_ids, p_types, p_versions, p_tenants, p_keys, p_times, p_correlations,
      p_causations, p_payloads, p_metadata) with ordinality
      as x(event_id, event_type, version, tenant_id, key, occurred_at, correlation_id,
        causation_id, payload, metadata, n)
    where x.n between v_from and v_to;
    v_first := v_first || (v_head + 1);
    v_from := v_to + 1;
  end loop;
  return v_first;
end $$;

-- The same for events that may be there already: a caller's own event ids, and the second try after
-- a commit whose answer was lost. Returns where each event stands, in the order given.
create function millrace.append_events_once(
  p_partitions int[], p_counts int[], p_ids uuid[], p_types text[], p_versions int[],
  p_tenants text[], p_keys text[], p_times timestamptz[], p_correlations text[],
  p_causations uuid[], p_payloads json[], p_metadata json[]
) returns table (n bigint, "partition" int, "offset" bigint, duplicate boolean)
language plpgsql as $$
#variable_conflict use_column
declare
  v_from int := 1;
  v_to int;
  v_head bigint;
  v_known uuid[];
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'append needs read committed' using errcode = 'MR001';
  end if;
  for i in 1 .. coalesce(array_length(p_partitions, 1), 0) loop
    perform pg_advisory_xact_lock(7305, p_partitions[i]);
  end loop;
  select coalesce(array_agg(e.event_id), '{}') into v_known
    from unnest(p_ids, p_tenants) as x(event_id, tenant_id)
    join millrace.event e on e.tenant_id = x.tenant_id and e.event_id = x.event_id;
  for i in 1 .. coalesce(array_length(p_partitions, 1), 0) loop
    select e."offset" into v_head from millrace.event e
      where e."partition" = p_partitions[i] order by e."offset" desc limit 1;
    v_head := coalesce(v_head, 0);
    v_to := v_from + p_counts[i] - 1;
    insert into millrace.event
    select p_partitions[i], v_head + row_number() over (order by f.n), f.event_id, f.event_type,
      f.version, f.tenant_id, f.key, f.occurred_at, f.correlation_id, f.causation_id, f.payload,
      f.metadata
    from (
      select x.*, row_number() over (partition by x.tenant_id, x.event_id order by x.n) as copy
      from unnest(p_ids[v_from:v_to], p_types[v_from:v_to], p_versions[v_from:v_to],
        p_tenants[v_from:v_to], p_keys[v_from:v_to], p_times[v_from:v_to],
        p_correlations[v_from:v_to], p_causations[v_from:v_to], p_payloads[v_from:v_to],
        p_metadata[v_from:v_to]) with ordinality
        as x(event_id, event_type, version, tenant_id, key, occurred_at, correlation_id,
          causation_id, payload, metadata, n)
      where x.event_id <> all (v_known)
    ) f
    where f.copy = 1;
    v_from := v_to + 1;
  end loop;
  return query
    select x.n, e."partition", e."offset", x.event_id = any (v_known)
      or row_number() over (partition by x.tenant_id, x.event_id order by x.n) > 1
    from unnest(p_ids, p_tenants) with ordinality as x(event_id, tenant_id, n)
    join millrace.event e on e.tenant_id = x.tenant_id and e.event_id = x.event_id
    order by x.n;
end $$;

-- The caller's own transaction only inserts here; the rows become events after its commit.
-- Runs as the owner so that any role with execute may stage, but for its own tenant only.
create function millrace.stage_events(
  p_partitions int[], p_ids uuid[], p_types text[], p_versions int[],
  p_tenants text[], p_keys text[], p_times timestamptz[], p_correlations text[],
  p_causations uuid[], p_payloads json[], p_metadata json[]
) returns void language plpgsql security definer set search_path = pg_catalog as $$
declare
  v_tenant text := nullif(current_setting('millrace.tenant', true), '');
begin
  if v_tenant is not null and exists (select 1 from unnest(p_tenants) t where t <> v_tenant) then
    raise exception 'a transaction of tenant % cannot publish for another tenant', v_tenant
      using errcode = 'insufficient_privilege';
  end if;
  insert into millrace.staged_event ("partition", event_id, event_type, version, tenant_id, key,
    occurred_at, correlation_id, causation_id, payload, metadata)
  select x.* from unnest(p_partitions, p_ids, p_types, p_versions, p_tenants, p_keys, p_times,
    p_correlations, p_causations, p_payloads, p_metadata)
    as x("partition", event_id, event_type, version, tenant_id, key, occurred_at, correlation_id,
      causation_id, payload, metadata);
end $$;

-- Moves committed staged events into the log, oldest first; one sequencer at a time. p_floor is the
-- oldest transaction that could still show new rows; the answer carries the next floor.
create function millrace.sequence_staged(p_floor xid8, p_limit int)
returns table (moved int, floor xid8, partitions int[]) language plpgsql as $$
#variable_conflict use_column
declare
  v_floor xid8;
  v_partitions int[];
  v_moved int := 0;
  v_head bigint;
  v_count int;
  p int;
begin
  if not pg_try_advisory_xact_lock(7306, 0) then
    return query select 0, p_floor, '{}'::int[];
    return;
  end if;
  v_floor := pg_snapshot_xmin(pg_current_snapshot());
  if not exists (select 1 from millrace.staged_event s where s.xid >= p_floor) then
    return query select 0, v_floor, '{}'::int[];
    return;
  end if;
  create temporary table if not exists millrace_sequenced (
    like millrace.staged_event
  ) on commit delete rows;
  with taken as (
    delete from millrace.staged_event s
    using (select xid, seq from millrace.staged_event where xid >= p_floor
           order by xid, seq limit p_limit) d
    where s.xid = d.xid and s.seq = d.seq
    returning s.*
  )
  insert into pg_temp.millrace_sequenced select * from taken;
  get diagnostics v_moved = row_count;
  if v_moved = p_limit then
    v_floor := p_floor;
  end if;
  select coalesce(array_agg(distinct t."partition" order by t."partition"), '{}')
    into v_partitions from pg_temp.millrace_sequenced t;
  foreach p in array v_partitions loop
    perform pg_advisory_xact_lock(7305, p);
    select e."offset" into v_head from millrace.event e
      where e."partition" = p order by e."offset" desc limit 1;
    v_head := coalesce(v_head, 0);
    insert into millrace.event
    select t."partition", v_head + row_number() over (order by t.seq), t.event_id, t.event_type,
      t.version, t.tenant_id, t.key, t.occurred_at, t.correlation_id, t.causation_id, t.payload,
      t.metadata
    from (
      -- An id staged twice is one event: a violation here would stop every staged event for good.
      select distinct on (d.tenant_id, d.event_id) d.* from pg_temp.millrace_sequenced d
      where d."partition" = p order by d.tenant_id, d.event_id, d.seq
    ) t
    where not exists (
      select 1 from millrace.event e
      where e.tenant_id = t.tenant_id and e.event_id = t.event_id
    );
  end loop;
  return query select v_moved, v_floor, v_partitions;
end $$;

-- The first waiting event of these keys comes next when nothing is in front of it any more.
create function millrace.promote_parked(
  p_group text, p_partition int, p_tenants text[], p_keys text[]
) returns void language sql as $$
  update millrace.event_failure f
  set status = 'retrying', next_attempt_at = clock_timestamp()
  from (
    select distinct on (w.tenant_id, coalesce(w.key, '')) w."offset", w.status
    from unnest(p_tenants, p_keys) as t(tenant_id, key)
    join millrace.event_failure w on w.group_name = p_group and w."partition" = p_partition
      and w.tenant_id = t.tenant_id and coalesce(w.key, '') = t.key
      and w.status in ('retrying', 'parked', 'dead')
    order by w.tenant_id, coalesce(w.key, ''), w."offset"
  ) first
  where f.group_name = p_group and f."partition" = p_partition
    and f."offset" = first."offset" and first.status = 'parked';
$$;

-- Appends link p_seq of the cursor chain for the owner with p_epoch. A newer epoch, or a link that
-- is there already, means that another worker took over: everything in this transaction is undone.
create function millrace.settle_cursor(
  p_group text, p_partition int, p_epoch int, p_seq bigint, p_position bigint, p_ahead bigint[]
) returns void language plpgsql as $$
begin
  if exists (select 1 from millrace.lease l where l.group_name = p_group
      and l."partition" = p_partition and l.epoch > p_epoch) then
    raise exception 'partition % of group % has a newer owner than epoch %',
      p_partition, p_group, p_epoch using errcode = 'MR002';
  end if;
  -- A link that is there already violates the primary key; the driver reads that as LEASE_LOST. To
  -- catch it here would cost a subtransaction, with a transaction id of its own, per settlement.
  insert into millrace.group_cursor (group_name, "partition", seq, epoch, "position", ahead)
  values (p_group, p_partition, p_seq, p_epoch, p_position, p_ahead);
end $$;

-- Records failures and what they hold up, and removes what a retry has resolved. Exceptional, so it
-- may lock: the operators' verbs take the same lock. Says which of the touched keys stay blocked.
create function millrace.settle_failures(
  p_group text, p_partition int, p_failures json, p_resolved bigint[]
) returns table (tenant_id text, key text, blocked boolean) language plpgsql as $$
#variable_conflict use_column
declare
  v_tenants text[];
  v_keys text[];
begin
  perform pg_advisory_xact_lock(hashtext('millrace.group:' || p_group), p_partition);
  insert into millrace.event_failure as f (group_name, "partition", "offset", event_id, event_type,
    tenant_id, key, status, attempts, next_attempt_at, failed_at, reason, error_code, fingerprint,
    detail, was_dead)
  select p_group, p_partition, x."offset", x.event_id, x.event_type, x.tenant_id, x.key, x.status,
    x.attempts, clock_timestamp() + x.delay_ms * interval '1 millisecond',
    -- Milliseconds, as in the ISO texts that pages of letters continue after.
    case when x.status <> 'parked' then date_trunc('milliseconds', clock_timestamp()) end,
    x.reason, x.error_code, x.fingerprint, x.detail, x.status = 'dead'
  from json_to_recordset(coalesce(p_failures, '[]')) as x("offset" bigint, event_id uuid,
    event_type text, tenant_id text, key text, status text, attempts int, delay_ms float8,
    reason text, error_code text, fingerprint text, detail text)
  on conflict (group_name, "partition", "offset") do update
  set status = excluded.status, attempts = excluded.attempts,
    next_attempt_at = excluded.next_attempt_at, failed_at = excluded.failed_at,
    reason = excluded.reason, error_code = excluded.error_code,
    fingerprint = excluded.fingerprint, detail = excluded.detail,
    was_dead = f.was_dead or excluded.was_dead;
  select array_agg(t.tenant_id), array_agg(t.key) into v_tenants, v_keys from (
    select x.tenant_id, coalesce(x.key, '') as key
    from json_to_recordset(coalesce(p_failures, '[]')) as x(tenant_id text, key text)
    union
    select f.tenant_id, coalesce(f.key, '') from millrace.event_failure f
    where f.group_name = p_group and f."partition" = p_partition
      and f."offset" = any (coalesce(p_resolved, '{}'))
  ) t;
  delete from millrace.event_failure f
  where f.group_name = p_group and f."partition" = p_partition
    and f."offset" = any (coalesce(p_resolved, '{}')) and not f.was_dead;
  update millrace.event_failure f set status = 'succeeded', next_attempt_at = null
  where f.group_name = p_group and f."partition" = p_partition
    and f."offset" = any (coalesce(p_resolved, '{}')) and f.was_dead;
  perform millrace.promote_parked(p_group, p_partition, v_tenants, v_keys);
  return query
    select t.tenant_id, t.key, exists (
      select 1 from millrace.event_failure f
      where f.group_name = p_group and f."partition" = p_partition
        and f.tenant_id = t.tenant_id and coalesce(f.key, '') = t.key
        and f.status in ('retrying', 'parked', 'dead')
    ) from unnest(v_tenants, v_keys) as t(tenant_id, key);
end $$;

-- P9-12: is this event processed by that worker type? Answered from cursors and failures.
create view millrace.event_processing with (security_invoker = true) as
select e.event_id, g.group_name as worker_type, e.tenant_id, e.key as exception_id,
  case when f.status is null or f.status = 'succeeded' then s.settled_at
    else f.failed_at end as processed_at,
  case
    when f.status in ('dead', 'discarded') then 'failed'
    when f.status = 'skipped' then 'skipped'
    when f.status in ('retrying', 'parked') then 'retrying'
    when c."position" >= e."offset" or e."offset" = any (c.ahead) then 'completed'
    else 'pending'
  end as status,
  coalesce(f.attempts, 0) as retry_count
from millrace.event e
join millrace.consumer_group g on e.event_type = any (g.event_types)
left join lateral (
  select c."position", c.ahead from millrace.group_cursor c
  where c.group_name = g.group_name and c."partition" = e."partition"
  order by c.seq desc limit 1
) c on true
left join lateral (
  select s.settled_at from millrace.group_cursor s
  where s.group_name = g.group_name and s."partition" = e."partition"
    and s."position" >= e."offset"
  order by s."position", s.seq limit 1
) s on true
left join millrace.event_failure f on f.group_name = g.group_name
  and f."partition" = e."partition" and f."offset" = e."offset";

-- P9-15: the dead-letter queue with the columns that it names, joined to the event it refers to.
create view millrace.dead_letter_events with (security_invoker = true) as
select f.event_id, f.event_type, f.tenant_id, f.key as exception_id,
  'events/' || f."partition" as original_topic, f.reason as failure_reason,
  greatest(f.attempts - 1, 0) as retry_count, f.failed_at,
  coalesce(f.edited_payload, e.payload) as payload, e.metadata,
  f.group_name as worker_type, f."partition", f."offset",
  case f.status when 'dead' then 'pending' else f.status end as status,
  f.error_code, f.fingerprint, f.detail, f.edited_payload is not null as edited,
  (select count(*) from millrace.event_failure w
   where w.group_name = f.group_name and w."partition" = f."partition"
     and w.tenant_id = f.tenant_id and coalesce(w.key, '') = coalesce(f.key, '')
     and w.status = 'parked' and w."offset" > f."offset") as waiting
from millrace.event_failure f
join millrace.event e on e."partition" = f."partition" and e."offset" = f."offset"
where f.was_dead;

-- Row-level security: a tenant sees its rows, no tenant sees none; the workers' loop sees all rows
-- through its own role; the tables that only the engine uses admit that role alone.
do $rls$
declare
  t text;
begin
  foreach t in array array['setting', 'event', 'staged_event', 'consumer_group', 'worker', 'lease',
      'group_cursor', 'event_failure'] loop
    execute format('alter table millrace.%I enable row level security', t);
    execute format('alter table millrace.%I force row level security', t);
    execute format('create policy engine on millrace.%I to millrace_worker
      using (true) with check (true)', t);
  end loop;
end
$rls$;
create policy tenant_reads on millrace.event for select to millrace_app
  using (tenant_id = current_setting('millrace.tenant', true));
create policy tenant_reads on millrace.event_failure for select to millrace_app
  using (tenant_id = current_setting('millrace.tenant', true));
create policy everyone_reads on millrace.consumer_group for select to millrace_app using (true);
create policy everyone_reads on millrace.group_cursor for select to millrace_app using (true);
create policy owner_stages on millrace.staged_event for insert to millrace_owner with check (true);

revoke execute on all functions in schema millrace from public;
grant execute on function millrace.stage_events to millrace_app, millrace_worker;
grant select on millrace.event, millrace.event_failure, millrace.consumer_group,
  millrace.group_cursor, millrace.event_processing, millrace.dead_letter_events to millrace_app;
-- The log is insert-only for everybody who works with it: no update, no delete.
grant select, insert on millrace.event, millrace.setting to millrace_worker;
grant select, insert, delete on millrace.staged_event, millrace.group_cursor, millrace.lease
  to millrace_worker;
grant select, insert, update, delete on millrace.worker, millrace.event_failure,
  millrace.consumer_group to millrace_worker;
grant select on millrace.event_processing, millrace.dead_letter_events to millrace_worker;
grant execute on all functions in schema millrace to millrace_worker;
reset role;
