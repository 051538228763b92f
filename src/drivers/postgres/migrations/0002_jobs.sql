-- Job queues. Rule of the hot path as in 0001: a plain job is one inserted row, a claim one inserted
-- range, an acknowledgement one inserted range. Only what is exceptional has a row that changes.
--
-- Advisory locks, always taken in this order: 7315 (channel or enqueue) keeps a call and its own
-- repetition apart, when the connection was lost and the first is still at work; 7313 (epoch) fences settlements against recovery; 7310
-- (lane) keeps finishing a parent and counting a child's parents apart; 7312 (queue) serialises
-- claims and permits; 7311 (lane) serialises appends; 7314 (hash) one unique key. What a statement
-- must see after a lock is read by the next statement: its snapshot is younger than the lock.
set local role millrace_owner;

create table millrace.job_queue (
  queue_id int generated always as identity primary key,
  queue_name text not null unique,
  paused_at timestamptz,
  concurrency_max int,
  rate_max int,
  rate_per_ms bigint,
  key_concurrency_max int,
  key_rate_max int,
  key_rate_per_ms bigint,
  length_max int
);

-- The log of one (queue, tenant, priority, key). by_range false: the lane of jobs that were enqueued
-- with a state row; those are claimed by row, and their offsets come from a sequence.
create table millrace.job_lane (
  lane_id int generated always as identity primary key,
  queue_id int not null,
  tenant_id text not null,
  priority int not null,
  lane_key text not null,
  by_range boolean not null,
  unique (queue_id, tenant_id, priority, lane_key, by_range)
);
create sequence millrace.job_row_offset;

-- enqueue_id names the batch and stands in its first row only: a repeated append looks for it in the
-- rows beyond the last head that its sender knew, so it needs no index.
create table millrace.job (
  lane_id int not null,
  version int not null,
  "offset" bigint not null,
  enqueued_at timestamptz not null,
  name text not null,
  payload json not null,
  options json,
  enqueue_id uuid,
  primary key (lane_id, "offset")
);

-- A process that works on jobs. Its epoch is new with each registration; no row: dead or gone.
create table millrace.job_worker (
  epoch bigint generated always as identity primary key,
  worker_id uuid not null,
  queues text[] not null,
  host text not null,
  pid int not null,
  time_to_live_ms int not null,
  started_at timestamptz not null default clock_timestamp(),
  heartbeat_at timestamptz not null default clock_timestamp(),
  running int not null default 0,
  concurrency int not null default 0,
  -- Claims of lower numbers are wholly settled: recovery need not look at them.
  oldest_claim_no bigint not null default 0
);

create table millrace.job_claim (
  lane_id int not null,
  claim_no bigint not null,
  to_offset bigint not null,
  from_offset bigint not null,
  epoch bigint not null,
  claimed_at timestamptz not null,
  primary key (lane_id, to_offset)
);
create index job_claim_epoch on millrace.job_claim (epoch, claim_no);

create table millrace.job_ack (
  lane_id int not null,
  first_offset bigint not null,
  last_offset bigint not null,
  epoch bigint not null,
  settled_at timestamptz not null,
  primary key (lane_id, first_offset)
);

create table millrace.job_result (
  lane_id int not null,
  "offset" bigint not null,
  result json not null,
  primary key (lane_id, "offset")
);

create table millrace.job_progress (
  lane_id int not null,
  "offset" bigint not null,
  progress json not null,
  updated_at timestamptz not null default clock_timestamp(),
  primary key (lane_id, "offset")
);

-- The exceptional job. run_at orders what waits and says when what is delayed becomes due. epoch:
-- who runs it, or who ran it when it was cancelled and has not let go yet.
-- parents_left: -1 until counted.
create table millrace.job_state (
  lane_id int not null,
  "offset" bigint not null,
  queue_id int not null,
  tenant_id text not null,
  priority int not null,
  job_key text not null,
  name text not null,
  status text not null check (status in ('blocked', 'delayed', 'waiting', 'running', 'retrying',
    'completed', 'dead', 'cancelled', 'quarantined')),
  run_at timestamptz not null,
  failures int not null default 0,
  crashes int not null default 0,
  epoch bigint,
  claim_no bigint,
  started_at timestamptz,
  finished_at timestamptz,
  error json,
  fingerprint text,
  unique_key text,
  unique_until timestamptz,
  parents_left int not null default 0,
  on_parent_failure text not null default 'wait',
  primary key (lane_id, "offset")
) with (fillfactor = 80);
create index job_state_waiting on millrace.job_state
  (queue_id, priority, run_at, lane_id, "offset") where status = 'waiting';
create index job_state_due on millrace.job_state (queue_id, run_at)
  where status in ('delayed', 'retrying');
create index job_state_held on millrace.job_state (epoch) where epoch is not null;
create index job_state_unique on millrace.job_state (queue_id, tenant_id, unique_key)
  where unique_key is not null;
create index job_state_uncounted on millrace.job_state (lane_id, "offset")
  where status = 'blocked' and parents_left < 0;

create table millrace.job_dependency (
  parent_lane int not null,
  parent_offset bigint not null,
  child_lane int not null,
  child_offset bigint not null,
  finished boolean not null default false,
  primary key (parent_lane, parent_offset, child_lane, child_offset)
);
create index job_dependency_child on millrace.job_dependency (child_lane, child_offset);

-- Enqueues of exceptional jobs, to answer a repeated one with what the first one did.
create table millrace.job_enqueue (
  enqueue_id uuid primary key,
  answer json not null,
  enqueued_at timestamptz not null default clock_timestamp()
);

-- What runs under a limit, and the tokens of its bucket: a chain, the newest link counts. scope:
-- '' for the queue, else tenant and key.
create table millrace.job_permit (
  queue_id int not null,
  scope text not null,
  seq bigint not null,
  running int not null,
  tokens double precision not null,
  counted_at timestamptz not null,
  primary key (queue_id, scope, seq)
);

create function millrace.permit_scope(p_tenant text, p_key text) returns text
language sql immutable parallel safe return p_tenant || chr(1) || p_key;

-- Known or new lanes, with their heads. Safe to repeat from anywhere.
create function millrace.job_lanes(
  p_queues text[], p_tenants text[], p_priorities int[], p_keys text[]
) returns table (lane_id int, queue_id int, head bigint) language plpgsql as $$
#variable_conflict use_column
begin
  insert into millrace.job_queue (queue_name)
  select distinct x from unnest(p_queues) x order by x on conflict do nothing;
  insert into millrace.job_lane (queue_id, tenant_id, priority, lane_key, by_range)
  select distinct q.queue_id, x.tenant_id, x.priority, x.lane_key, true
  from unnest(p_queues, p_tenants, p_priorities, p_keys)
    as x(queue_name, tenant_id, priority, lane_key)
  join millrace.job_queue q on q.queue_name = x.queue_name
  order by 1, 2, 3, 4 on conflict do nothing;
  return query
    select l.lane_id, l.queue_id, coalesce((
      select j."offset" from millrace.job j where j.lane_id = l.lane_id
      order by j."offset" desc limit 1), 0)
    from unnest(p_queues, p_tenants, p_priorities, p_keys) with ordinality
      as x(queue_name, tenant_id, priority, lane_key, n)
    join millrace.job_queue q on q.queue_name = x.queue_name
    join millrace.job_lane l on l.queue_id = q.queue_id and l.tenant_id = x.tenant_id
      and l.priority = x.priority and l.lane_key = x.lane_key and l.by_range
    order by x.n;
end $$;

-- How many more may start under a limit now, and else when to look again.
create function millrace.permit_room(
  p_queue int, p_scope text, p_concurrency int, p_rate int, p_per_ms bigint, p_now timestamptz,
  out room int, out wait_ms double precision
) language plpgsql as $$
declare
  v_running int := 0;
  v_tokens double precision := p_rate;
  v_at timestamptz;
begin
  select p.running, p.tokens, p.counted_at into v_running, v_tokens, v_at
    from millrace.job_permit p where p.queue_id = p_queue and p.scope = p_scope
    order by p.seq desc limit 1;
  room := 2147483647;
  if p_concurrency is not null then
    room := greatest(0, p_concurrency - coalesce(v_running, 0));
    if room = 0 then
      wait_ms := 0;
    end if;
  end if;
  if p_rate is not null then
    -- A clock that was set back must not empty the bucket, nor one set forward overfill it.
    v_tokens := case when v_at is null then p_rate else least(p_rate, v_tokens + p_rate
      * greatest(0, extract(epoch from p_now - v_at) * 1000) / p_per_ms) end;
    if v_tokens < 1 then
      wait_ms := greatest(1, ceil((1 - v_tokens) * p_per_ms / p_rate));
    end if;
    room := least(room, floor(v_tokens)::int);
  end if;
end $$;

-- Adds a link: p_running more run (less, if negative), p_spent tokens are gone.
create function millrace.permit_take(
  p_queue int, p_scope text, p_running int, p_spent int, p_rate int, p_per_ms bigint,
  p_now timestamptz
) returns void language plpgsql as $$
declare
  v_seq bigint := 0;
  v_running int := 0;
  v_tokens double precision;
  v_at timestamptz;
begin
  select p.seq, p.running, p.tokens, p.counted_at into v_seq, v_running, v_tokens, v_at
    from millrace.job_permit p where p.queue_id = p_queue and p.scope = p_scope
    order by p.seq desc limit 1;
  v_tokens := case when p_rate is null then 0 when v_at is null then p_rate
    else least(p_rate, v_tokens + p_rate
      * greatest(0, extract(epoch from p_now - v_at) * 1000) / p_per_ms) end;
  insert into millrace.job_permit values (p_queue, p_scope, coalesce(v_seq, 0) + 1,
    greatest(0, coalesce(v_running, 0) + p_running), v_tokens - p_spent,
    greatest(p_now, coalesce(v_at, p_now)));
end $$;

-- Gives back the permits of jobs that run no more: ranges of lanes. Takes the queue's lock.
create function millrace.return_permits(p_lanes int[], p_keys text[], p_counts bigint[])
returns void language plpgsql as $$
declare
  q record;
  k record;
  v_now timestamptz;
begin
  for q in
    select u.*, g.n from (
      select l.queue_id, sum(x.n)::int as n from unnest(p_lanes, p_counts) as x(lane_id, n)
      join millrace.job_lane l on l.lane_id = x.lane_id group by 1
    ) g join millrace.job_queue u on u.queue_id = g.queue_id
    where u.concurrency_max is not null or u.key_concurrency_max is not null
    order by u.queue_id
  loop
    perform pg_advisory_xact_lock(7312, q.queue_id);
    v_now := clock_timestamp();
    if q.concurrency_max is not null then
      perform millrace.permit_take(q.queue_id, '', -q.n, 0, q.rate_max, q.rate_per_ms, v_now);
    end if;
    if q.key_concurrency_max is not null then
      for k in
        select millrace.permit_scope(l.tenant_id, coalesce(x.job_key, l.lane_key)) as scope,
          sum(x.n)::int as n
        from unnest(p_lanes, p_keys, p_counts) as x(lane_id, job_key, n)
        join millrace.job_lane l on l.lane_id = x.lane_id
        where l.queue_id = q.queue_id group by 1 order by 1
      loop
        perform millrace.permit_take(q.queue_id, k.scope, -k.n, 0, q.key_rate_max,
          q.key_rate_per_ms, v_now);
      end loop;
    end if;
  end loop;
end $$;

-- Tells children that parents came to an end. p_succeeded false: the child's own policy decides.
-- The caller holds 7310 of the parents' lanes, shared at least. Answers with queues in which a child
-- may run now.
create function millrace.finish_parents(
  p_lanes int[], p_first bigint[], p_last bigint[], p_succeeded boolean
) returns int[] language plpgsql as $$
declare
  v_lanes int[];
  v_offsets bigint[];
  v_woken int[];
begin
  -- Nobody depends on anything in most databases; the probe is one page.
  if not exists (select 1 from millrace.job_dependency) then
    return null;
  end if;
  with met as (
    update millrace.job_dependency d set finished = true
    from unnest(p_lanes, p_first, p_last) as r(lane_id, first_offset, last_offset),
      millrace.job_state s
    where d.parent_lane = r.lane_id and d.parent_offset between r.first_offset and r.last_offset
      and not d.finished and s.lane_id = d.child_lane and s."offset" = d.child_offset
      and (p_succeeded or s.status = 'blocked' and s.parents_left > 0
        and s.on_parent_failure = 'run')
    returning d.child_lane, d.child_offset
  ), counted as (
    select m.child_lane, m.child_offset, count(*)::int as n from met m group by 1, 2
  ), freed as (
    update millrace.job_state s set parents_left = s.parents_left - c.n,
      status = case when s.parents_left > c.n then 'blocked'
        when s.run_at > clock_timestamp() then 'delayed' else 'waiting' end
    from counted c
    where s.lane_id = c.child_lane and s."offset" = c.child_offset and s.status = 'blocked'
      and s.parents_left > 0
    returning s.queue_id, s.status
  )
  select array_agg(distinct f.queue_id) into v_woken from freed f where f.status <> 'blocked';
  if p_succeeded then
    return v_woken;
  end if;
  with gone as (
    update millrace.job_state s set status = 'cancelled', finished_at = clock_timestamp(),
      error = json_build_object('code', 'JOB_CANCELLED', 'fingerprint', 'parent failed',
        'message', 'Job ' || d.parent_lane || '-' || d.parent_offset || ' did not complete.'),
      fingerprint = 'parent failed'
    from unnest(p_lanes, p_first, p_last) as r(lane_id, first_offset, last_offset)
    join millrace.job_dependency d on d.parent_lane = r.lane_id
      and d.parent_offset between r.first_offset and r.last_offset and not d.finished
    where s.lane_id = d.child_lane and s."offset" = d.child_offset
      and s.status = 'blocked' and s.on_parent_failure = 'cancel'
    returning s.lane_id, s."offset"
  )
  select array_agg(g.lane_id), array_agg(g."offset") into v_lanes, v_offsets from gone g;
  if v_lanes is not null then
    v_woken := v_woken || millrace.finish_parents(v_lanes, v_offsets, v_offsets, false);
  end if;
  return v_woken;
end $$;

-- Whether a job has come to its end, and how: true completed, false failed, null not yet.
create function millrace.job_outcome(p_lane int, p_offset bigint) returns boolean
language plpgsql stable as $$
declare
  v_status text;
begin
  select s.status into v_status from millrace.job_state s
    where s.lane_id = p_lane and s."offset" = p_offset;
  if found then
    return case when v_status = 'completed' then true
      when v_status in ('dead', 'cancelled', 'quarantined') then false end;
  end if;
  if exists (
    select 1 from millrace.job_claim c
    join millrace.job_ack a on a.lane_id = c.lane_id
      and a.first_offset between c.from_offset and p_offset and a.last_offset >= p_offset
    where c.lane_id = p_lane and c.to_offset = (
      select k.to_offset from millrace.job_claim k
      where k.lane_id = p_lane and k.to_offset >= p_offset order by k.to_offset limit 1)
  ) then
    return true;
  end if;
  -- Pruned: it was completed long ago. Never enqueued: nobody can wait for it.
  if not exists (select 1 from millrace.job j where j.lane_id = p_lane and j."offset" = p_offset
      and j.name <> '') then
    return true;
  end if;
  return null;
end $$;

-- Counts the unfinished parents of blocked jobs that nobody has counted yet, under the locks that
-- keep a parent from finishing meanwhile. In a transaction of its own, because of their order.
create function millrace.count_parents(p_limit int) returns int language plpgsql as $$
declare
  v_lanes int[];
  v_offsets bigint[];
  v_parent int;
  v_counted int;
begin
  if not exists (
    select 1 from millrace.job_state s where s.status = 'blocked' and s.parents_left < 0
  ) then
    return 0;
  end if;
  select array_agg(x.lane_id), array_agg(x."offset") into v_lanes, v_offsets from (
    select s.lane_id, s."offset" from millrace.job_state s
    where s.status = 'blocked' and s.parents_left < 0 limit p_limit for update skip locked
  ) x;
  for v_parent in
    select distinct d.parent_lane from unnest(v_lanes, v_offsets) as x(lane_id, "offset")
    join millrace.job_dependency d on d.child_lane = x.lane_id and d.child_offset = x."offset"
    order by 1
  loop
    perform pg_advisory_xact_lock(7310, v_parent);
  end loop;
  update millrace.job_dependency d set finished = true
  from unnest(v_lanes, v_offsets) as x(lane_id, "offset")
  join millrace.job_state s on s.lane_id = x.lane_id and s."offset" = x."offset"
  where d.child_lane = x.lane_id and d.child_offset = x."offset" and not d.finished
    and case when s.on_parent_failure = 'run'
      then millrace.job_outcome(d.parent_lane, d.parent_offset) is not null
      else millrace.job_outcome(d.parent_lane, d.parent_offset) end;
  update millrace.job_state s set parents_left = n.n,
    status = case when n.n > 0 then 'blocked'
      when s.run_at > clock_timestamp() then 'delayed' else 'waiting' end
  from (
    select x.lane_id, x."offset", (
      select count(*) from millrace.job_dependency d
      where d.child_lane = x.lane_id and d.child_offset = x."offset" and not d.finished
    )::int as n from unnest(v_lanes, v_offsets) as x(lane_id, "offset")
  ) n
  where s.lane_id = n.lane_id and s."offset" = n."offset" and s.status = 'blocked';
  get diagnostics v_counted = row_count;
  -- A parent that failed before its child came.
  select array_agg(d.parent_lane), array_agg(d.parent_offset) into v_lanes, v_offsets
  from unnest(v_lanes, v_offsets) as x(lane_id, "offset")
  join millrace.job_dependency d on d.child_lane = x.lane_id and d.child_offset = x."offset"
  where not d.finished and millrace.job_outcome(d.parent_lane, d.parent_offset) = false;
  if v_lanes is not null then
    perform millrace.finish_parents(v_lanes, v_offsets, v_offsets, false);
  end if;
  return v_counted;
end $$;

-- Tells children of acknowledged jobs. A plain job that has a state row all the same was cancelled
-- while it ran: its children are not told, and its worker lets go of it.
create function millrace.finish_acknowledged(
  p_epoch bigint, p_lanes int[], p_first bigint[], p_last bigint[]
) returns int[] language plpgsql as $$
declare
  v_lanes int[];
  v_first bigint[];
  v_last bigint[];
begin
  if not exists (
    select 1 from unnest(p_lanes, p_first, p_last) as a(lane_id, first_offset, last_offset)
    join millrace.job_state s on s.lane_id = a.lane_id
      and s."offset" between a.first_offset and a.last_offset
  ) then
    return millrace.finish_parents(p_lanes, p_first, p_last, true);
  end if;
  update millrace.job_state s set epoch = null
  from unnest(p_lanes, p_first, p_last) as a(lane_id, first_offset, last_offset)
  where s.epoch = p_epoch and s.status = 'cancelled' and s.lane_id = a.lane_id
    and s."offset" between a.first_offset and a.last_offset;
  select array_agg(r.lane_id), array_agg(lower(r.span)), array_agg(upper(r.span) - 1)
    into v_lanes, v_first, v_last
  from (
    select a.lane_id, unnest(int8multirange(int8range(a.first_offset, a.last_offset, '[]')) - (
      select coalesce(range_agg(int8range(s."offset", s."offset", '[]')), '{}')
      from millrace.job_state s where s.lane_id = a.lane_id
        and s."offset" between a.first_offset and a.last_offset
    )) as span
    from unnest(p_lanes, p_first, p_last) as a(lane_id, first_offset, last_offset)
  ) r;
  if v_lanes is null then
    return null;
  end if;
  return millrace.finish_parents(v_lanes, v_first, v_last, true);
end $$;

-- Keeps results, but not of a job that was cancelled meanwhile.
create function millrace.store_results(p_lanes int[], p_offsets bigint[], p_results json[])
returns void language sql as $$
  insert into millrace.job_result
  select x.lane_id, x."offset", x.result
  from unnest(p_lanes, p_offsets, p_results) as x(lane_id, "offset", result)
  where not exists (select 1 from millrace.job_state s where s.lane_id = x.lane_id
    and s."offset" = x."offset" and s.status <> 'completed')
  on conflict do nothing
$$;

-- Settles what an epoch holds: ranges of plain jobs that completed, results, and rows (json) of jobs
-- that failed, were released, or have a state row: [{l, o, n: claim, s: status, d: delay ms, e: error,
-- f: fingerprint, c: counts}]. p_strict: raises when one of them was cancelled meanwhile.
-- Side effects follow what really changed, so a second call is harmless. Answers with queues
-- to wake and, if strict, the transaction's number, to ask about when the answer to its commit is
-- lost.
create function millrace.settle_jobs(
  p_epoch bigint, p_queue int, p_ack_lanes int[], p_ack_first bigint[], p_ack_last bigint[],
  p_result_lanes int[], p_result_offsets bigint[], p_results json[], p_rows json, p_again boolean,
  p_strict boolean, out number text, out woken int[]
) language plpgsql as $$
declare
  v_now timestamptz := clock_timestamp();
  v_acks boolean := coalesce(array_length(p_ack_lanes, 1), 0) > 0;
  v_lane int;
  v_lanes int[];
  v_offsets bigint[];
  v_keys text[];
  v_statuses text[];
begin
  if p_strict then
    number := pg_current_xact_id();
  end if;
  perform pg_advisory_xact_lock_shared(7313, (p_epoch % 2147483647)::int);
  if not exists (select 1 from millrace.job_worker w where w.epoch = p_epoch) then
    raise exception 'epoch % was declared dead', p_epoch using errcode = 'MR002';
  end if;
  if p_again and v_acks and exists (
    select 1 from millrace.job_ack a where a.lane_id = p_ack_lanes[1]
      and a.first_offset = p_ack_first[1] and a.epoch = p_epoch
  ) then
    return; -- the first try was committed
  end if;
  if p_rows is null then
    for i in 1 .. coalesce(array_length(p_ack_lanes, 1), 0) loop -- ascending as they come
      perform pg_advisory_xact_lock_shared(7310, p_ack_lanes[i]);
    end loop;
  else
    for v_lane in
      select distinct x from (
        select unnest(p_ack_lanes) union all
        select r.l from json_to_recordset(p_rows) as r(l int)
      ) as x(x) order by 1
    loop
      perform pg_advisory_xact_lock_shared(7310, v_lane);
    end loop;
  end if;
  if p_strict then
    perform pg_advisory_xact_lock_shared(7312, p_queue);
    if exists (
      select 1 from millrace.job_state s
      join unnest(p_ack_lanes, p_ack_first, p_ack_last) as a(lane_id, first_offset, last_offset)
        on s.lane_id = a.lane_id and s."offset" between a.first_offset and a.last_offset
      where s.status = 'cancelled'
      union all
      select 1 from millrace.job_state s
      join json_to_recordset(p_rows) as r(l int, o bigint) on s.lane_id = r.l and s."offset" = r.o
      where s.status = 'cancelled'
    ) then
      raise exception 'the job was cancelled' using errcode = 'MR004';
    end if;
  end if;
  if v_acks then
    if exists (
      select 1 from unnest(p_ack_lanes, p_ack_first, p_ack_last)
        as a(lane_id, first_offset, last_offset)
      left join lateral (
        select c.epoch, c.from_offset from millrace.job_claim c
        where c.lane_id = a.lane_id and c.to_offset >= a.last_offset
        order by c.to_offset limit 1
      ) c on true
      where c.epoch is distinct from p_epoch or c.from_offset > a.first_offset
    ) then
      raise exception 'epoch % does not hold all of this', p_epoch using errcode = 'MR002';
    end if;
    insert into millrace.job_ack
      select x.*, p_epoch, v_now from unnest(p_ack_lanes, p_ack_first, p_ack_last) x;
    if exists (select 1 from millrace.job_queue u where u.queue_id = p_queue
        and (u.concurrency_max is not null or u.key_concurrency_max is not null)) then
      perform millrace.return_permits(p_ack_lanes, null, (
        select array_agg(x.l - x.f + 1) from unnest(p_ack_first, p_ack_last) as x(f, l)));
    end if;
    woken := millrace.finish_acknowledged(p_epoch, p_ack_lanes, p_ack_first, p_ack_last);
  end if;
  if p_rows is null then
    if p_result_lanes is not null then
      perform millrace.store_results(p_result_lanes, p_result_offsets, p_results);
    end if;
    return;
  end if;
  with changed as (
    insert into millrace.job_state as s (lane_id, "offset", queue_id, tenant_id, priority, job_key,
      name, status, run_at, failures, claim_no, finished_at, error, fingerprint)
    select r.l, r.o, l.queue_id, l.tenant_id, l.priority, l.lane_key, j.name,
      case when r.s = 'released' or (r.s = 'retrying' and r.d <= 0) then 'waiting' else r.s end,
      case when r.s = 'released' then j.enqueued_at
        else v_now + greatest(r.d, 0) * interval '1 millisecond' end,
      r.c::int, r.n,
      case when r.s in ('completed', 'dead', 'cancelled') then v_now end, r.e, r.f
    from json_to_recordset(p_rows)
      as r(l int, o bigint, n bigint, s text, d double precision, e json, f text, c boolean)
    join millrace.job_lane l on l.lane_id = r.l
    join millrace.job j on j.lane_id = r.l and j."offset" = r.o
    -- Not a plain job of another's claim, nor one that completed after all, in a commit whose answer
    -- was lost.
    where exists (
      select 1 from millrace.job_state k where k.lane_id = r.l and k."offset" = r.o
    ) or (
      select c.epoch = p_epoch and c.from_offset <= r.o from millrace.job_claim c
      where c.lane_id = r.l and c.to_offset >= r.o order by c.to_offset limit 1
    ) and coalesce((
      select a.last_offset < r.o from millrace.job_ack a
      where a.lane_id = r.l and a.first_offset <= r.o order by a.first_offset desc limit 1
    ), true)
    on conflict (lane_id, "offset") do update set
      status = case when s.status = 'running' then excluded.status else s.status end,
      run_at = case when s.status = 'running' then excluded.run_at else s.run_at end,
      failures = s.failures + case when s.status = 'running' then excluded.failures else 0 end,
      finished_at = coalesce(s.finished_at, excluded.finished_at),
      error = coalesce(excluded.error, s.error),
      fingerprint = coalesce(excluded.fingerprint, s.fingerprint),
      epoch = null
    -- Not what the same epoch claimed anew since then.
    where s.epoch = p_epoch and s.claim_no = coalesce(excluded.claim_no, s.claim_no)
    returning s.lane_id, s."offset", s.job_key, s.status
  )
  select array_agg(c.lane_id), array_agg(c."offset"), array_agg(c.job_key), array_agg(c.status)
    into v_lanes, v_offsets, v_keys, v_statuses from changed c;
  if p_result_lanes is not null then
    perform millrace.store_results(p_result_lanes, p_result_offsets, p_results);
  end if;
  if v_lanes is null then
    return;
  end if;
  woken := woken || (
    select millrace.finish_parents(array_agg(x.l), array_agg(x.o), array_agg(x.o), true)
    from unnest(v_lanes, v_offsets, v_statuses) as x(l, o, s) where x.s = 'completed'
  ) || (
    select millrace.finish_parents(array_agg(x.l), array_agg(x.o), array_agg(x.o), false)
    from unnest(v_lanes, v_offsets, v_statuses) as x(l, o, s) where x.s in ('dead', 'cancelled')
  );
  perform millrace.return_permits(v_lanes, v_keys, array_fill(1::bigint, array[cardinality(v_lanes)]));
end $$;

-- Gives state rows that wait to an epoch: p_max of at most that priority number. Of suspects (they saw
-- two workers die) one at a time. Rows whose key is at its limit are passed over.
create function millrace.claim_rows(
  q millrace.job_queue, p_epoch bigint, p_claim_no bigint, p_priority int, p_max int,
  p_suspect boolean, p_now timestamptz, out claimed int, out suspect boolean,
  out wait_ms double precision
) language plpgsql as $$
declare
  r record;
  v_room record;
  v_scope text;
begin
  claimed := 0;
  suspect := false;
  if q.key_concurrency_max is null and q.key_rate_max is null then
    with picked as (
      select * from (
        select s.lane_id, s."offset", s.crashes, s.priority, s.run_at from millrace.job_state s
        where s.queue_id = q.queue_id and s.status = 'waiting' and s.priority <= p_priority
          and s.crashes < 2
        order by s.priority, s.run_at, s.lane_id, s."offset" limit p_max for update skip locked
      ) sound
      union all
      select * from (
        select s.lane_id, s."offset", s.crashes, s.priority, s.run_at from millrace.job_state s
        where s.queue_id = q.queue_id and s.status = 'waiting' and s.priority <= p_priority
          and s.crashes > 1 and p_suspect
        order by s.priority, s.run_at, s.lane_id, s."offset" limit 1 for update skip locked
      ) suspected
    ), chosen as (
      select * from picked p order by p.priority, p.run_at, p.lane_id, p."offset" limit p_max
    ), taken as (
      update millrace.job_state s set status = 'running', epoch = p_epoch, claim_no = p_claim_no,
        started_at = p_now
      from chosen c where s.lane_id = c.lane_id and s."offset" = c."offset"
      returning s.crashes
    )
    select count(*), coalesce(bool_or(t.crashes > 1), false) into claimed, suspect from taken t;
    return;
  end if;
  for r in
    select s.lane_id, s."offset", s.tenant_id, s.job_key, s.crashes from millrace.job_state s
    where s.queue_id = q.queue_id and s.status = 'waiting' and s.priority <= p_priority
    order by s.priority, s.run_at, s.lane_id, s."offset"
    limit greatest(p_max * 10, 1000) for update skip locked
  loop
    exit when claimed >= p_max;
    continue when r.crashes > 1 and (suspect or not p_suspect);
    v_scope := millrace.permit_scope(r.tenant_id, r.job_key);
    v_room := millrace.permit_room(q.queue_id, v_scope, q.key_concurrency_max, q.key_rate_max,
      q.key_rate_per_ms, p_now);
    if v_room.room < 1 then
      wait_ms := least(wait_ms, v_room.wait_ms);
      continue;
    end if;
    perform millrace.permit_take(q.queue_id, v_scope, 1, 1, q.key_rate_max, q.key_rate_per_ms,
      p_now);
    update millrace.job_state s set status = 'running', epoch = p_epoch, claim_no = p_claim_no,
      started_at = p_now
    where s.lane_id = r.lane_id and s."offset" = r."offset";
    claimed := claimed + 1;
    suspect := suspect or r.crashes > 1;
  end loop;
end $$;

-- Gives jobs of a queue to an epoch, under the queue's lock (the caller holds it). Lanes come in
-- groups of one priority, most urgent first; within a group the room is shared out evenly. State
-- rows of a priority go before its lanes: they have waited longer.
create function millrace.claim_jobs(
  q millrace.job_queue, p_epoch bigint, p_claim_no bigint, p_max int, p_lanes int[],
  p_priorities int[], p_suspects boolean,
  out lanes int[], out froms bigint[], out tos bigint[], out skipped boolean[], out row_count int,
  out lanes_left int[], out limited_ms double precision, out due_ms double precision
) language plpgsql as $$
declare
  v_now timestamptz := clock_timestamp();
  v_left int := p_max;
  v_claimed int := 0;
  v_suspects boolean := p_suspects;
  v_rows boolean;
  v_room record;
  v_got record;
  v_keyed boolean := q.key_concurrency_max is not null or q.key_rate_max is not null;
  v_count int := coalesce(array_length(p_lanes, 1), 0);
  v_i int := 1;
  v_j int;
  v_head bigint;
  v_from bigint[];
  v_avail bigint[];
  v_more boolean[];
  v_take bigint[];
  v_open int;
  v_share int;
  v_scopes text[];
begin
  lanes := '{}';
  froms := '{}';
  tos := '{}';
  skipped := '{}';
  row_count := 0;
  lanes_left := '{}';
  if q.concurrency_max is not null or q.rate_max is not null then
    v_room := millrace.permit_room(q.queue_id, '', q.concurrency_max, q.rate_max, q.rate_per_ms,
      v_now);
    if v_room.room < v_left then
      v_left := v_room.room;
      limited_ms := coalesce(v_room.wait_ms, 0);
    end if;
  end if;
  select extract(epoch from min(s.run_at) - v_now) * 1000 into due_ms from millrace.job_state s
    where s.queue_id = q.queue_id and s.status in ('delayed', 'retrying');
  if due_ms <= 0 then
    update millrace.job_state s set status = 'waiting' from (
      select d.lane_id, d."offset" from millrace.job_state d
      where d.queue_id = q.queue_id and d.status in ('delayed', 'retrying') and d.run_at <= v_now
      order by d.run_at limit 1000 for update skip locked
    ) d where s.lane_id = d.lane_id and s."offset" = d."offset";
    select greatest(0, extract(epoch from min(s.run_at) - v_now) * 1000) into due_ms
      from millrace.job_state s
      where s.queue_id = q.queue_id and s.status in ('delayed', 'retrying');
  end if;
  v_rows := exists (select 1 from millrace.job_state s
    where s.queue_id = q.queue_id and s.status = 'waiting');
  while v_i <= v_count and v_left > 0 loop
    if v_rows then
      v_got := millrace.claim_rows(q, p_epoch, p_claim_no, p_priorities[v_i], v_left, v_suspects,
        v_now);
      v_left := v_left - v_got.claimed;
      row_count := row_count + v_got.claimed;
      v_suspects := v_suspects and not v_got.suspect;
      limited_ms := least(limited_ms, v_got.wait_ms);
    end if;
    v_j := v_i;
    v_open := 0;
    while v_j <= v_count and p_priorities[v_j] = p_priorities[v_i] loop
      select c.to_offset into v_head from millrace.job_claim c
        where c.lane_id = p_lanes[v_j] order by c.to_offset desc limit 1;
      v_from[v_j] := coalesce(v_head, 0);
      select j."offset" into v_head from millrace.job j
        where j.lane_id = p_lanes[v_j] order by j."offset" desc limit 1;
      v_avail[v_j] := coalesce(v_head, 0) - v_from[v_j];
      v_more[v_j] := false;
      v_take[v_j] := 0;
      if v_keyed and v_avail[v_j] > 0 then
        v_scopes[v_j] := (select millrace.permit_scope(l.tenant_id, l.lane_key)
          from millrace.job_lane l where l.lane_id = p_lanes[v_j]);
        v_room := millrace.permit_room(q.queue_id, v_scopes[v_j], q.key_concurrency_max,
          q.key_rate_max, q.key_rate_per_ms, v_now);
        if v_room.room < v_avail[v_j] then
          v_more[v_j] := true;
          v_avail[v_j] := v_room.room;
          limited_ms := least(limited_ms, coalesce(v_room.wait_ms, 0));
        end if;
      end if;
      v_open := v_open + (v_avail[v_j] > 0)::int;
      v_j := v_j + 1;
    end loop;
    while v_left > 0 and v_open > 0 loop
      v_share := ceil(v_left::numeric / v_open);
      v_open := 0;
      for k in v_i .. v_j - 1 loop
        v_head := least(v_avail[k] - v_take[k], v_share, v_left);
        v_take[k] := v_take[k] + v_head;
        v_left := v_left - v_head;
        v_open := v_open + (v_avail[k] > v_take[k])::int;
      end loop;
    end loop;
    for k in v_i .. v_j - 1 loop
      if v_take[k] > 0 then
        insert into millrace.job_claim values (p_lanes[k], p_claim_no, v_from[k] + v_take[k],
          v_from[k] + 1, p_epoch, v_now);
        -- Cancelled before anybody claimed them: they are not run, so they hold no permit.
        select count(*) into v_head from millrace.job_state s where s.lane_id = p_lanes[k]
          and s."offset" between v_from[k] + 1 and v_from[k] + v_take[k];
        lanes := lanes || p_lanes[k];
        froms := froms || (v_from[k] + 1);
        tos := tos || (v_from[k] + v_take[k]);
        skipped := skipped || (v_head > 0);
        v_claimed := v_claimed + v_take[k]::int - v_head::int;
        v_take[k] := v_take[k] - v_head;
        v_avail[k] := v_avail[k] - v_head;
        if v_keyed then
          perform millrace.permit_take(q.queue_id, v_scopes[k], v_take[k]::int, v_take[k]::int,
            q.key_rate_max, q.key_rate_per_ms, v_now);
        end if;
      end if;
      if v_more[k] or v_avail[k] > v_take[k] then
        lanes_left := lanes_left || p_lanes[k];
      end if;
    end loop;
    v_i := v_j;
  end loop;
  lanes_left := lanes_left || p_lanes[v_i : v_count];
  if v_rows and v_left > 0 then
    v_got := millrace.claim_rows(q, p_epoch, p_claim_no, 2147483647, v_left, v_suspects, v_now);
    v_left := v_left - v_got.claimed;
    row_count := row_count + v_got.claimed;
    limited_ms := least(limited_ms, v_got.wait_ms);
    -- Passed over because somebody's transaction holds them: look again soon.
    if v_left > 0 and limited_ms is null and exists (select 1 from millrace.job_state s
        where s.queue_id = q.queue_id and s.status = 'waiting' and s.crashes < 2) then
      due_ms := least(due_ms, 50);
    end if;
  end if;
  -- Rows that still wait although there was room are suspects or at a limit of their key.
  if v_rows and v_left = 0 and limited_ms is null and exists (select 1 from millrace.job_state s
      where s.queue_id = q.queue_id and s.status = 'waiting') then
    due_ms := 0;
  end if;
  v_claimed := v_claimed + row_count;
  if v_claimed > 0 and (q.concurrency_max is not null or q.rate_max is not null) then
    perform millrace.permit_take(q.queue_id, '', v_claimed, v_claimed, q.rate_max, q.rate_per_ms,
      v_now);
  end if;
end $$;

-- One round trip of a worker: settle, then enqueue (rows sorted by lane), then claim. The first row
-- of the answer says what happened (json in payload); the others are jobs claimed, without those
-- that this call enqueued itself: the caller still has them.
create function millrace.exchange_jobs(
  p_queue int, p_epoch bigint, p_again boolean,
  p_ack_lanes int[], p_ack_first bigint[], p_ack_last bigint[],
  p_result_lanes int[], p_result_offsets bigint[], p_results json[], p_rows json,
  p_lanes int[], p_counts int[], p_known bigint[], p_names text[], p_versions int[],
  p_payloads json[], p_options json[], p_enqueue_id uuid,
  p_claim_no bigint, p_max int, p_claim_lanes int[], p_priorities int[], p_suspects boolean
) returns table (lane_id int, "offset" bigint, name text, version int, payload json, options json,
  enqueued_ms double precision, failures int, crashes int, job_key text, priority int)
language plpgsql as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  q millrace.job_queue;
  v_from int := 1;
  v_to int;
  v_head bigint;
  v_first bigint[] := '{}';
  v_claim record;
  v_done boolean; -- this very call was committed before
  v_own bigint;
  v_woken int[];
  v_from_offset bigint;
  v_to_offset bigint;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'jobs need read committed' using errcode = 'MR001';
  end if;
  perform pg_advisory_xact_lock(7315, case when p_epoch is null then hashtext(p_enqueue_id::text)
    else ((p_epoch * 1009 + p_queue) % 2147483647)::int end);
  v_done := p_claim_no is not null and (
    exists (select 1 from millrace.job_claim k
      where k.epoch = p_epoch and k.claim_no = p_claim_no)
    or exists (select 1 from millrace.job_state s
      where s.epoch = p_epoch and s.claim_no = p_claim_no));
  if v_done and not p_again then
    raise exception 'claim % of epoch % was repeated and answered', p_claim_no, p_epoch
      using errcode = 'MR007';
  end if;
  if not v_done and (p_ack_lanes is not null or p_rows is not null) then
    select t.woken into v_woken from millrace.settle_jobs(p_epoch, p_queue, p_ack_lanes,
      p_ack_first, p_ack_last, p_result_lanes, p_result_offsets, p_results, p_rows, p_again,
      false) t;
  elsif p_claim_no is not null then
    perform pg_advisory_xact_lock_shared(7313, (p_epoch % 2147483647)::int);
    if not exists (select 1 from millrace.job_worker w where w.epoch = p_epoch) then
      raise exception 'epoch % was declared dead', p_epoch using errcode = 'MR002';
    end if;
  end if;
  if p_claim_no is not null then
    perform pg_advisory_xact_lock(7312, p_queue);
  end if;
  select * into q from millrace.job_queue u where u.queue_id = p_queue;
  if q.length_max is not null and p_lanes is not null then
    perform pg_advisory_xact_lock(7312, p_queue);
  end if;
  if q.length_max is not null and p_lanes is not null and not p_again
    and millrace.queue_length(p_queue) + array_length(p_names, 1) > q.length_max then
    raise exception 'queue % holds % jobs at most', q.queue_name, q.length_max
      using errcode = 'MR005';
  end if;
  for i in 1 .. coalesce(array_length(p_lanes, 1), 0) loop
    perform pg_advisory_xact_lock(7311, p_lanes[i]);
    select j."offset" into v_head from millrace.job j
      where j.lane_id = p_lanes[i] order by j."offset" desc limit 1;
    v_head := coalesce(v_head, 0);
    -- Others have appended since, or this very batch has: a repetition looks through all of it, a
    -- first try that was slower than its repetition finds that among the newest.
    if v_head > p_known[i] then
      select j."offset" into v_own from millrace.job j where j.lane_id = p_lanes[i]
        and j."offset" > case when p_again then p_known[i]
          else greatest(p_known[i], v_head - 2000) end
        and j.enqueue_id = p_enqueue_id;
      if found then
        if not p_again then
          raise exception 'enqueue % was repeated and answered', p_enqueue_id
            using errcode = 'MR007';
        end if;
        v_first := v_first || v_own;
        continue;
      end if;
    end if;
    v_to := v_from + p_counts[i] - 1;
    insert into millrace.job
    select p_lanes[i], x.version, v_head + x.n - v_from + 1, v_now, x.name, x.payload, x.options,
      case when x.n = v_from then p_enqueue_id end
    from unnest(p_names, p_versions, p_payloads, p_options) with ordinality
      as x(name, version, payload, options, n)
    where x.n between v_from and v_to;
    v_first := v_first || (v_head + 1);
    v_from := v_to + 1;
  end loop;
  if p_claim_no is null or q.paused_at is not null then
    return query select null::int, null::bigint, null::text, null::int, json_build_object(
      'first', v_first, 'lanes', null, 'left', p_claim_lanes, 'woken', v_woken,
      'paused', q.paused_at is not null), null::json, null::double precision, null::int, null::int,
      null::text, null::int;
    return;
  end if;
  if v_done then
    select array_agg(k.lane_id) as lanes, array_agg(k.from_offset) as froms,
      array_agg(k.to_offset) as tos, array_agg(true) as skipped, 1 as row_count,
      p_claim_lanes as lanes_left, null::double precision as limited_ms,
      0::double precision as due_ms
    into v_claim from millrace.job_claim k where k.epoch = p_epoch and k.claim_no = p_claim_no;
  else
    v_claim := millrace.claim_jobs(q, p_epoch, p_claim_no, p_max, p_claim_lanes, p_priorities,
      p_suspects);
  end if;
  return query select null::int, null::bigint, null::text, null::int, json_build_object(
    'first', v_first, 'woken', v_woken, 'lanes', v_claim.lanes, 'froms', v_claim.froms, 'tos', v_claim.tos,
    'left', v_claim.lanes_left, 'limited', v_claim.limited_ms, 'due', v_claim.due_ms,
    'uncounted', exists (select 1 from millrace.job_state s
      where s.status = 'blocked' and s.parents_left < 0), 'paused', false), null::json,
    null::double precision, null::int, null::int, null::text, null::int;
  if v_claim.row_count > 0 then
    return query
      select s.lane_id, s."offset", j.name, j.version, j.payload, j.options,
        extract(epoch from j.enqueued_at)::double precision * 1000, s.failures, s.crashes,
        s.job_key, s.priority
      from millrace.job_state s
      join millrace.job j on j.lane_id = s.lane_id and j."offset" = s."offset"
      where s.epoch = p_epoch and s.claim_no = p_claim_no and s.status = 'running'
      order by s.priority, s.run_at, s.lane_id, s."offset";
  end if;
  for i in 1 .. coalesce(array_length(v_claim.lanes, 1), 0) loop
    v_from_offset := v_claim.froms[i];
    v_to_offset := least(v_claim.tos[i],
      coalesce(v_first[array_position(p_lanes, v_claim.lanes[i])] - 1, v_claim.tos[i]));
    continue when v_to_offset < v_from_offset;
    if not v_claim.skipped[i] then
      return query
        select j.lane_id, j."offset", j.name, j.version, j.payload, j.options,
          extract(epoch from j.enqueued_at)::double precision * 1000, null::int, null::int,
          null::text, null::int
        from millrace.job j where j.lane_id = v_claim.lanes[i]
          and j."offset" between v_from_offset and v_to_offset
        order by j.lane_id, j."offset";
    else
      return query
        select j.lane_id, j."offset", j.name, j.version, j.payload, j.options,
          extract(epoch from j.enqueued_at)::double precision * 1000, null::int, null::int,
          null::text, null::int
        from millrace.job j where j.lane_id = v_claim.lanes[i]
          and j."offset" between v_from_offset and v_to_offset
          and not exists (select 1 from millrace.job_state s
            where s.lane_id = j.lane_id and s."offset" = j."offset")
        order by j.lane_id, j."offset";
    end if;
  end loop;
end $$;

-- Jobs of a queue that nobody holds: ahead of the claims but for cancelled ones, and state rows that
-- wait.
create function millrace.queue_length(p_queue int) returns bigint language sql stable as $$
  select coalesce(sum(greatest(0, x.head - x.claimed) - case when x.head > x.claimed then (
      select count(*) from millrace.job_state s
      where s.lane_id = x.lane_id and s."offset" > x.claimed) else 0 end), 0)
    + (select count(*) from millrace.job_state s where s.queue_id = p_queue
      and s.status in ('waiting', 'delayed', 'retrying', 'blocked'))
  from (
    select l.lane_id, coalesce((
        select j."offset" from millrace.job j where j.lane_id = l.lane_id
        order by j."offset" desc limit 1), 0) as head, coalesce((
        select c.to_offset from millrace.job_claim c where c.lane_id = l.lane_id
        order by c.to_offset desc limit 1), 0) as claimed
    from millrace.job_lane l where l.queue_id = p_queue and l.by_range
  ) x
$$;

-- Takes from an epoch what it holds and forgets it. p_crashed: its jobs saw a worker die.
create function millrace.release_epoch(p_epoch bigint, p_crashed boolean, p_crashes_max int)
returns table (lane_id int, "offset" bigint, queue_id int, crashes int, quarantined boolean)
language plpgsql as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_oldest bigint;
  v_lanes int[];
  v_offsets bigint[];
  v_keys text[];
  v_lost boolean[];
begin
  delete from millrace.job_worker w where w.epoch = p_epoch
    returning w.oldest_claim_no into v_oldest;
  if not found then
    return;
  end if;
  with held as (
    select c.lane_id, unnest(int8multirange(int8range(c.from_offset, c.to_offset, '[]')) - coalesce((
      select range_agg(int8range(a.first_offset, a.last_offset, '[]')) from millrace.job_ack a
      where a.lane_id = c.lane_id and a.first_offset between c.from_offset and c.to_offset
    ), '{}')) as span
    from millrace.job_claim c where c.epoch = p_epoch and c.claim_no >= v_oldest
  ), made as (
    insert into millrace.job_state as s (lane_id, "offset", queue_id, tenant_id, priority, job_key,
      name, status, run_at, crashes, finished_at)
    select h.lane_id, j."offset", l.queue_id, l.tenant_id, l.priority, l.lane_key, j.name,
      case when p_crashed and p_crashes_max <= 1 then 'quarantined' else 'waiting' end,
      j.enqueued_at, p_crashed::int,
      case when p_crashed and p_crashes_max <= 1 then v_now end
    from held h
    join millrace.job_lane l on l.lane_id = h.lane_id
    join millrace.job j on j.lane_id = h.lane_id and j."offset" >= lower(h.span)
      and j."offset" < upper(h.span)
    on conflict (lane_id, "offset") do nothing
    returning s.lane_id, s."offset", s.job_key, s.status = 'quarantined' as lost
  ), moved as (
    update millrace.job_state s set epoch = null, crashes = s.crashes + p_crashed::int,
      status = case when s.status <> 'running' then s.status
        when p_crashed and s.crashes + 1 >= p_crashes_max then 'quarantined' else 'waiting' end,
      finished_at = case when s.status = 'running' and p_crashed and s.crashes + 1 >= p_crashes_max
        then v_now else s.finished_at end
    where s.epoch = p_epoch
    returning s.lane_id, s."offset", s.job_key, s.status = 'quarantined' as lost
  ), every as (
    select * from made union all select * from moved
  )
  select array_agg(e.lane_id), array_agg(e."offset"), array_agg(e.job_key), array_agg(e.lost)
    into v_lanes, v_offsets, v_keys, v_lost from every e;
  if v_lanes is null then
    return;
  end if;
  -- A job cancelled while it waited for its claim keeps its row and had a permit all the same.
  perform millrace.finish_parents(array_agg(x.l), array_agg(x.o), array_agg(x.o), false)
    from unnest(v_lanes, v_offsets, v_lost) as x(l, o, lost) where x.lost;
  perform millrace.return_permits(v_lanes, v_keys,
    array_fill(1::bigint, array[cardinality(v_lanes)]));
  return query
    select s.lane_id, s."offset", s.queue_id, s.crashes, s.status = 'quarantined'
    from unnest(v_lanes, v_offsets) as x(lane_id, "offset")
    join millrace.job_state s on s.lane_id = x.lane_id and s."offset" = x."offset"
    where s.status in ('waiting', 'quarantined');
end $$;

-- Declares silent epochs dead, each by one caller only, and counts parents nobody has counted.
create function millrace.recover_jobs(p_crashes_max int)
returns table (epoch bigint, lane_id int, "offset" bigint, queue_name text, crashes int,
  quarantined boolean) language plpgsql as $$
#variable_conflict use_column
declare
  w record;
begin
  perform millrace.count_parents(1000);
  for w in
    select k.epoch from millrace.job_worker k
    where k.heartbeat_at < clock_timestamp() - k.time_to_live_ms * interval '1 millisecond'
    order by 1
  loop
    -- Not while a settlement of it is under way: that one still counts.
    continue when not pg_try_advisory_xact_lock(7313, (w.epoch % 2147483647)::int);
    if exists (select 1 from millrace.job_worker k where k.epoch = w.epoch
        and k.heartbeat_at < clock_timestamp() - k.time_to_live_ms * interval '1 millisecond') then
      return query select w.epoch, null::int, null::bigint, null::text, null::int, null::boolean;
      return query
        select w.epoch, r.lane_id, r."offset", q.queue_name, r.crashes, r.quarantined
        from millrace.release_epoch(w.epoch, true, p_crashes_max) r
        join millrace.job_queue q on q.queue_id = r.queue_id;
    end if;
  end loop;
end $$;

-- An orderly farewell: what is still held waits again, and no try is counted.
create function millrace.retire_worker(p_epoch bigint) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(7313, (p_epoch % 2147483647)::int);
  perform millrace.release_epoch(p_epoch, false, 0);
end $$;

-- Says that a worker lives. Not alive: it was declared dead. Answers with cancelled jobs it holds.
create function millrace.beat_worker(
  p_epoch bigint, p_running int, p_concurrency int, p_oldest bigint,
  out alive boolean, out lanes int[], out offsets bigint[]
) language plpgsql as $$
begin
  update millrace.job_worker w set heartbeat_at = clock_timestamp(), running = p_running,
    concurrency = p_concurrency, oldest_claim_no = greatest(w.oldest_claim_no, p_oldest)
  where w.epoch = p_epoch;
  alive := found;
  select coalesce(array_agg(s.lane_id), '{}'), coalesce(array_agg(s."offset"), '{}')
    into lanes, offsets from millrace.job_state s
    where s.epoch = p_epoch and s.status = 'cancelled';
end $$;

-- Queues and lanes for jobs with state rows; nothing is written when they are known.
create function millrace.make_row_lanes(p_queues text[], p_tenants text[]) returns void
language plpgsql as $$
begin
  insert into millrace.job_queue (queue_name)
    select distinct x from unnest(p_queues) x
    where not exists (select 1 from millrace.job_queue k where k.queue_name = x)
    order by x on conflict do nothing;
  insert into millrace.job_lane (queue_id, tenant_id, priority, lane_key, by_range)
    select distinct k.queue_id, x.tenant_id, 0, '', false
    from unnest(p_queues, p_tenants) as x(queue_name, tenant_id)
    join millrace.job_queue k on k.queue_name = x.queue_name
    where not exists (select 1 from millrace.job_lane l where l.queue_id = k.queue_id
      and l.tenant_id = x.tenant_id and l.priority = 0 and l.lane_key = '' and not l.by_range)
    order by 1, 2 on conflict do nothing;
end $$;

-- Enqueues jobs with a state row each: delayed, unique, dependent, or inside a caller's transaction.
-- p_jobs: an array of the port's NewJob. p_enqueue_id: null inside a caller's transaction. A second
-- call with the same id answers as the first one did. Runs as the owner, for the tenant that is set.
create function millrace.enqueue_jobs(p_jobs json, p_enqueue_id uuid)
returns table (n bigint, lane_id int, "offset" bigint, duplicate boolean)
language plpgsql security definer set search_path = pg_catalog as $$
#variable_conflict use_column
declare
  v_tenant text := nullif(current_setting('millrace.tenant', true), '');
  v_now timestamptz := clock_timestamp();
  v_answer json;
  v_lock int;
  r record;
  q record;
  v_found record;
  v_lane int;
  v_offset bigint;
  v_delay interval;
  v_lanes int[] := '{}';
  v_offsets bigint[] := '{}';
  v_known boolean[] := '{}';
begin
  if v_tenant is not null and exists (
    select 1 from json_to_recordset(p_jobs) as j("tenantId" text) where j."tenantId" <> v_tenant
  ) then
    raise exception 'a transaction of tenant % cannot enqueue for another tenant', v_tenant
      using errcode = 'insufficient_privilege';
  end if;
  if p_enqueue_id is not null then
    perform pg_advisory_xact_lock(7315, hashtext(p_enqueue_id::text));
    select e.answer into v_answer from millrace.job_enqueue e where e.enqueue_id = p_enqueue_id;
    if found then
      return query select a.n, a.lane_id, a."offset", a.duplicate from json_to_recordset(v_answer)
        as a(n bigint, lane_id int, "offset" bigint, duplicate boolean) order by a.n;
      return;
    end if;
  end if;
  perform millrace.make_row_lanes(array_agg(j.queue), array_agg(j."tenantId"))
    from json_to_recordset(p_jobs) as j(queue text, "tenantId" text);
  for q in
    select k.queue_name, k.length_max, k.queue_id, count(*) as n
    from json_to_recordset(p_jobs) as j(queue text)
    join millrace.job_queue k on k.queue_name = j.queue
    where k.length_max is not null group by 1, 2, 3 order by 3
  loop
    -- In a caller's own transaction the length is a guess: it must not hold claims up.
    if p_enqueue_id is not null then
      perform pg_advisory_xact_lock(7312, q.queue_id);
    end if;
    if millrace.queue_length(q.queue_id) + q.n > q.length_max then
      raise exception 'queue % holds % jobs at most', q.queue_name, q.length_max
        using errcode = 'MR005';
    end if;
  end loop;
  for v_lock in
    select distinct hashtext(j.queue || chr(1) || j."tenantId" || chr(1) || (j."unique" ->> 'key'))
    from json_to_recordset(p_jobs) as j(queue text, "tenantId" text, "unique" json)
    where j."unique" ->> 'key' is not null order by 1
  loop
    perform pg_advisory_xact_lock(7314, v_lock);
  end loop;
  for r in
    select j.*, k.queue_id, l.lane_id as row_lane, o.n
    from json_array_elements(p_jobs) with ordinality as o(job, n)
    cross join lateral json_to_record(o.job) as j(queue text, "tenantId" text, key text,
      priority int, name text, version int, "payloadJson" text, "optionsJson" text,
      "delayMs" double precision, "unique" json, "dependsOn" json, "onParentFailure" text)
    join millrace.job_queue k on k.queue_name = j.queue
    join millrace.job_lane l on l.queue_id = k.queue_id and l.tenant_id = j."tenantId"
      and l.priority = 0 and l.lane_key = '' and not l.by_range
    order by o.n
  loop
    v_delay := r."delayMs" * interval '1 millisecond';
    if r."unique" ->> 'key' is not null then
      if r."unique" ->> 'mode' = 'debounce' then
        v_delay := greatest(v_delay, (r."unique" ->> 'windowMs')::double precision
          * interval '1 millisecond');
      end if;
      select s.lane_id, s."offset", s.status into v_found from millrace.job_state s
        where s.queue_id = r.queue_id and s.tenant_id = r."tenantId"
          and s.unique_key = r."unique" ->> 'key'
          and case r."unique" ->> 'mode'
            when 'throttle' then s.unique_until > v_now
            when 'reject' then s.finished_at is null
            when 'keep' then s.finished_at is null
            else s.status in ('waiting', 'delayed', 'retrying', 'blocked') end
        order by s.run_at desc limit 1 for update;
      if found and r."unique" ->> 'mode' = 'reject' then
        raise exception 'job %-% has the unique key %', v_found.lane_id, v_found."offset",
          r."unique" ->> 'key' using errcode = 'MR006',
          detail = v_found.lane_id || '-' || v_found."offset";
      end if;
      if found then
        if r."unique" ->> 'mode' in ('replace', 'debounce') then
          update millrace.job j set payload = r."payloadJson"::json, version = r.version,
            options = r."optionsJson"::json
          where j.lane_id = v_found.lane_id and j."offset" = v_found."offset";
          update millrace.job_state s set run_at = v_now + v_delay, priority = r.priority,
            job_key = r.key, name = r.name, failures = 0, error = null, fingerprint = null,
            status = case when s.status = 'blocked' then 'blocked'
              when v_delay > interval '0' then 'delayed' else 'waiting' end
          where s.lane_id = v_found.lane_id and s."offset" = v_found."offset";
          update millrace.job j set name = r.name
          where j.lane_id = v_found.lane_id and j."offset" = v_found."offset" and j.name <> r.name;
        end if;
        v_lanes := v_lanes || v_found.lane_id;
        v_offsets := v_offsets || v_found."offset";
        v_known := v_known || true;
        continue;
      end if;
    end if;
    v_lane := r.row_lane;
    v_offset := nextval('millrace.job_row_offset');
    insert into millrace.job (lane_id, version, "offset", enqueued_at, name, payload, options)
      values (v_lane, r.version, v_offset, v_now, r.name, r."payloadJson"::json,
        r."optionsJson"::json);
    insert into millrace.job_state (lane_id, "offset", queue_id, tenant_id, priority, job_key, name,
      status, run_at, unique_key, unique_until, parents_left, on_parent_failure)
    values (v_lane, v_offset, r.queue_id, r."tenantId", r.priority, r.key, r.name,
      case when json_array_length(r."dependsOn") > 0 then 'blocked'
        when v_delay > interval '0' then 'delayed' else 'waiting' end,
      v_now + v_delay, r."unique" ->> 'key',
      case when r."unique" ->> 'mode' = 'throttle' then v_now
        + (r."unique" ->> 'windowMs')::double precision * interval '1 millisecond' end,
      case when json_array_length(r."dependsOn") > 0 then -1 else 0 end,
      coalesce(r."onParentFailure", 'wait'));
    if json_array_length(r."dependsOn") > 0 then
      insert into millrace.job_dependency (parent_lane, parent_offset, child_lane, child_offset)
        select p.lane, p."offset", v_lane, v_offset
        from json_to_recordset(r."dependsOn") as p(lane int, "offset" bigint)
        on conflict do nothing;
    end if;
    v_lanes := v_lanes || v_lane;
    v_offsets := v_offsets || v_offset;
    v_known := v_known || false;
  end loop;
  if p_enqueue_id is not null then
    insert into millrace.job_enqueue (enqueue_id, answer)
      select p_enqueue_id, json_agg(json_build_object('n', x.n, 'lane_id', x.l, 'offset', x.o,
        'duplicate', x.d))
      from unnest(v_lanes, v_offsets, v_known) with ordinality as x(l, o, d, n);
  end if;
  return query select x.n, x.l, x.o, x.d
    from unnest(v_lanes, v_offsets, v_known) with ordinality as x(l, o, d, n) order by 1;
end $$;

-- Lanes of a queue in which jobs wait, most urgent first.
create function millrace.ready_lanes(p_queue int) returns table (lane_id int, priority int)
language sql stable as $$
  select l.lane_id, l.priority from millrace.job_lane l
  where l.queue_id = p_queue and l.by_range and coalesce((
      select j."offset" from millrace.job j where j.lane_id = l.lane_id
      order by j."offset" desc limit 1), 0) > coalesce((
      select c.to_offset from millrace.job_claim c where c.lane_id = l.lane_id
      order by c.to_offset desc limit 1), 0)
  order by l.priority, l.lane_id
$$;

-- Row-level security as in 0001. Jobs have their tenant by their lane: 9 bytes a row saved.
do $rls$
declare
  t text;
begin
  foreach t in array array['job_queue', 'job_lane', 'job', 'job_worker', 'job_claim', 'job_ack',
      'job_result', 'job_progress', 'job_state', 'job_dependency', 'job_enqueue', 'job_permit'] loop
    execute format('alter table millrace.%I enable row level security', t);
    execute format('alter table millrace.%I force row level security', t);
    execute format('create policy engine on millrace.%I to millrace_worker, millrace_owner
      using (true) with check (true)', t);
    execute format('grant select, insert, update, delete on millrace.%I to millrace_worker', t);
  end loop;
end
$rls$;
create policy tenant_reads on millrace.job_lane for select to millrace_app
  using (tenant_id = current_setting('millrace.tenant', true));
create policy tenant_reads on millrace.job_state for select to millrace_app
  using (tenant_id = current_setting('millrace.tenant', true));
create policy tenant_reads on millrace.job for select to millrace_app
  using (lane_id in (select l.lane_id from millrace.job_lane l));
create policy tenant_reads on millrace.job_result for select to millrace_app
  using (lane_id in (select l.lane_id from millrace.job_lane l));
grant select on millrace.job_lane, millrace.job_state, millrace.job, millrace.job_result
  to millrace_app;
grant usage on sequence millrace.job_row_offset to millrace_worker;
revoke execute on all functions in schema millrace from public;
grant execute on all functions in schema millrace to millrace_worker;
grant execute on function millrace.enqueue_jobs to millrace_app;
reset role;
