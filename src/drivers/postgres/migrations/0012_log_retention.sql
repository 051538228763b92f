-- Retention of the log: ranges are removed at the cold end of each partition. The event row gets no
-- column for it: marks say now and then how far a partition reached, and so how old its events are.
-- Runs in one transaction as the connecting user.
set local role millrace_owner;

-- Everything up to "offset" was stored before seen_at.
create table millrace.log_mark (
  "partition" int not null,
  "offset" bigint not null,
  seen_at timestamptz not null default clock_timestamp(),
  primary key ("partition", "offset")
);

-- The first offset that is left; without a row nothing was ever removed, and it is 1.
create table millrace.log_start (
  "partition" int primary key,
  first_offset bigint not null
);

-- Every group that has a registration, a cursor or a failure: each of them may hold the log. The
-- names come from the indexes, one step a name, however many rows a group has.
create function millrace.log_groups() returns setof text
language sql stable set search_path = pg_catalog as $$
  with recursive cursors as (
    select min(c.group_name) as name from millrace.group_cursor c
    union all
    select (select min(c.group_name) from millrace.group_cursor c where c.group_name > n.name)
    from cursors n where n.name is not null
  ), failures as (
    select min(f.group_name) as name from millrace.event_failure f
    union all
    select (select min(f.group_name) from millrace.event_failure f where f.group_name > n.name)
    from failures n where n.name is not null
  )
  select g.group_name from millrace.consumer_group g
  union select name from cursors where name is not null
  union select name from failures where name is not null
$$;

-- Where each group stands in a partition, and the first event that it has an open failure of.
-- A group without a cursor stands at 0: what is left of the log is still to be read by it.
create function millrace.log_holds(p_partition int)
returns table (group_name text, "position" bigint, first_failure bigint)
language sql stable set search_path = pg_catalog as $$
  select g, coalesce(c."position", 0), f."offset"
  from millrace.log_groups() g
  left join lateral (
    select c."position" from millrace.group_cursor c
    where c.group_name = g and c."partition" = p_partition order by c.seq desc limit 1
  ) c on true
  left join lateral (
    select f."offset" from millrace.event_failure f
    where f.group_name = g and f."partition" = p_partition
      and f.status in ('retrying', 'parked', 'dead')
    order by f."offset" limit 1
  ) f on true
$$;

-- Removes the oldest events of a partition, p_limit at most: those that a mark older than p_age
-- covers, up to the first that somebody may still ask for. The newest event stays whatever its
-- age: append reads the last offset from it. Answers with how many went, whether there are more,
-- and else, if somebody holds what is old enough, who that is and at which offset.
-- Runs as the owner: nobody who works with the log may delete from it otherwise.
create function millrace.trim_log(p_partition int, p_age interval, p_limit int)
returns table (removed int, more boolean, reason text, group_name text, "offset" bigint)
language plpgsql security definer set search_path = pg_catalog as $$
#variable_conflict use_column
declare
  v_first bigint;
  v_last bigint;
  v_end bigint;
  v_hold record;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'trimming the log needs read committed' using errcode = 'MR001';
  end if;
  removed := 0;
  more := false;
  if not pg_try_advisory_xact_lock(7317, p_partition) then
    return next;
    return;
  end if;
  -- Nobody registers meanwhile, and who did is seen by the statements below: a new group reads its
  -- first position after this commit, or holds everything from before it.
  lock table millrace.consumer_group in share mode;
  select coalesce(max(s.first_offset), 1) into v_first from millrace.log_start s
    where s."partition" = p_partition;
  -- No mark, nothing to do, whoever saw one before: another process may just have used it.
  select max(m."offset") into v_last from millrace.log_mark m
    where m."partition" = p_partition and m.seen_at <= clock_timestamp() - p_age;
  if v_last is not null then
    select least(v_last, e."offset" - 1) into v_last from millrace.event e
      where e."partition" = p_partition order by e."offset" desc limit 1;
  end if;
  if v_last is null or v_last < v_first then
    return next;
    return;
  end if;
  -- Positions and failures in one statement: a settlement moves both, and is seen whole.
  select h.* into v_hold from (
    select h.group_name, 'position' as reason, h."position" as "offset", h."position" as last
    from millrace.log_holds(p_partition) h
    union all
    select h.group_name, 'failure', h.first_failure, h.first_failure - 1
    from millrace.log_holds(p_partition) h where h.first_failure is not null
  ) h order by h.last, h.reason, h.group_name limit 1;
  if v_hold.last < v_last then
    v_last := v_hold.last;
    reason := v_hold.reason;
    group_name := v_hold.group_name;
    "offset" := v_hold."offset";
  end if;
  v_end := least(v_last, v_first + p_limit - 1);
  if v_end >= v_first then
    delete from millrace.event e where e."partition" = p_partition
      and e."offset" >= v_first and e."offset" <= v_end;
    get diagnostics removed = row_count;
    insert into millrace.log_start as s ("partition", first_offset) values (p_partition, v_end + 1)
      on conflict ("partition") do update set first_offset = excluded.first_offset;
    delete from millrace.log_mark m where m."partition" = p_partition and m."offset" <= v_end;
    -- Letters that were closed go with their events. Those that somebody has at hand are left for
    -- the next time.
    delete from millrace.event_failure f using (
      select o.group_name, o."offset" from millrace.event_failure o
      where o.group_name in (select millrace.log_groups()) and o."partition" = p_partition
        and o."offset" <= v_end and o.status in ('skipped', 'discarded', 'succeeded')
      for update skip locked
    ) o
    where f.group_name = o.group_name and f."partition" = p_partition and f."offset" = o."offset";
  end if;
  more := v_end < v_last;
  return next;
end $$;

-- Forgets a group that nobody runs: its registration, cursors and failures. Its leases are handed
-- over to nobody under a new epoch, so that a worker that was only frozen can settle nothing. True
-- when there was such a group.
create function millrace.remove_group(p_group text) returns boolean language plpgsql as $$
begin
  if not exists (select 1 from millrace.log_groups() g where g = p_group) then
    return false;
  end if;
  insert into millrace.lease (group_name, "partition", epoch)
  select p_group, l."partition", max(l.epoch) + 1 from millrace.lease l
  where l.group_name = p_group group by l."partition"
  on conflict do nothing;
  delete from millrace.consumer_group g where g.group_name = p_group;
  delete from millrace.group_cursor c where c.group_name = p_group;
  delete from millrace.event_failure f where f.group_name = p_group;
  return true;
end $$;

-- Row-level security as in 0001. The owner is held to it as well, and trim_log runs as the owner.
do $rls$
declare
  t text;
begin
  foreach t in array array['log_mark', 'log_start'] loop
    execute format('alter table millrace.%I enable row level security', t);
    execute format('alter table millrace.%I force row level security', t);
    execute format('create policy engine on millrace.%I to millrace_worker
      using (true) with check (true)', t);
  end loop;
  foreach t in array array['log_mark', 'log_start', 'event_failure'] loop
    execute format('create policy owner_trims on millrace.%I to millrace_owner
      using (true) with check (true)', t);
  end loop;
  foreach t in array array['event', 'group_cursor', 'consumer_group'] loop
    execute format('create policy owner_looks on millrace.%I for select to millrace_owner
      using (true)', t);
  end loop;
end
$rls$;
create policy owner_trims on millrace.event for delete to millrace_owner using (true);

grant select, insert on millrace.log_mark to millrace_worker;
grant select on millrace.log_start to millrace_worker;
revoke execute on function millrace.log_groups, millrace.log_holds, millrace.trim_log,
  millrace.remove_group from public;
grant execute on function millrace.log_groups, millrace.log_holds, millrace.trim_log,
  millrace.remove_group to millrace_worker;
reset role;
