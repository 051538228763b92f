-- The sequencer's floor (staged events of older transactions have all been moved) was told by calls
-- that wrote nothing. A server that crashed then gave numbers below it to new transactions, and what
-- those staged was never moved by a process that went on.
-- Runs in one transaction as the connecting user.
set local role millrace_owner;

-- Moves what committed transactions staged into the log, oldest first, and answers with the next
-- floor. It moves on only with a commit of its own, which makes all numbers below it durable.
create or replace function millrace.sequence_staged(p_floor xid8, p_limit int)
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
    -- Not v_floor: this call writes nothing, so a crash may give numbers below it to others anew.
    return query select 0, p_floor, '{}'::int[];
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

reset role;
