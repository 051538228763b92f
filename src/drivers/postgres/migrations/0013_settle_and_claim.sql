-- Two faults of settling and claiming. Handlers' transactions of a queue with a limit on
-- concurrency deadlocked as two of them committed. And a claim whose answer was lost, of a queue
-- that was paused before it was asked for again, stayed held by a worker that did not know of it.
-- Runs in one transaction as the connecting user.
set local role millrace_owner;

-- Settles what an epoch holds: ranges of plain jobs that completed, results, and rows (json) of jobs
-- that failed, were released, or have a state row: [{l, o, n: claim, s: status, d: delay ms, e: error,
-- f: fingerprint, c: counts}]. p_strict: raises when one of them was cancelled meanwhile.
-- Side effects follow what really changed, so a second call is harmless. Answers with queues
-- to wake and, if strict, the transaction's number, to ask about when the answer to its commit is
-- lost.
create or replace function millrace.settle_jobs(
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
    -- Who gives permits back takes this lock for himself below, and two that share it until then
    -- wait for each other for ever.
    if exists (select 1 from millrace.job_queue u where u.queue_id = p_queue
        and (u.concurrency_max is not null or u.key_concurrency_max is not null)) then
      perform pg_advisory_xact_lock(7312, p_queue);
    else
      perform pg_advisory_xact_lock_shared(7312, p_queue);
    end if;
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

-- One round trip of a worker: settle, then enqueue (rows sorted by lane), then claim. The first row
-- of the answer says what happened (json in payload); the others are jobs claimed, without those
-- that this call enqueued itself: the caller still has them.
create or replace function millrace.exchange_jobs(
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
  -- Paused between a claim and its repetition: what the first try got is held, and only the sender
  -- of this call can be told.
  if p_claim_no is null or (q.paused_at is not null and not v_done) then
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
      where s.status = 'blocked' and s.parents_left < 0), 'paused', q.paused_at is not null),
    null::json, null::double precision, null::int, null::int, null::text, null::int;
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

reset role;
