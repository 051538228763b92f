-- Domain events: groups that name patterns of event types, and dead letters that expire.
-- Runs in one transaction as the connecting user.
set local role millrace_owner;

-- Is this type among those that a group names? `*` in a name stands for any text.
create function millrace.type_is_wanted(p_type text, p_wanted text[]) returns boolean
language sql immutable parallel safe as $$
  select p_type = any (p_wanted) or exists (
    select from unnest(p_wanted) w
    where strpos(w, '*') > 0
      and p_type like replace(replace(replace(w, '\', '\\'), '_', '\_'), '*', '%')
  )
$$;

-- The same answer as before, for groups with patterns as well.
create or replace view millrace.event_processing with (security_invoker = true) as
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
join millrace.consumer_group g on millrace.type_is_wanted(e.event_type, g.event_types)
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

-- Dead letters older than p_age go, whatever became of them; what waits behind one that was still
-- pending goes on. One partition of a group after the other, each under the lock that the owner's
-- settlements and the verbs take; ascending, so that two sweeps never wait in a circle.
create function millrace.expire_dead_letters(p_groups text[], p_age interval, p_limit int)
returns table (group_name text, "partition" int, removed int) language plpgsql as $$
#variable_conflict use_column
declare
  v_before timestamptz := clock_timestamp() - p_age;
  v_left int := p_limit;
  v_tenants text[];
  v_keys text[];
  r record;
begin
  for r in
    select distinct f.group_name, f."partition" from millrace.event_failure f
    where f.group_name = any (p_groups) and f.was_dead and f.status <> 'retrying'
      and f.status <> 'parked' and f.failed_at < v_before
    order by 1, 2
  loop
    exit when v_left <= 0;
    perform pg_advisory_xact_lock(hashtext('millrace.group:' || r.group_name), r."partition");
    with gone as (
      delete from millrace.event_failure f
      where f.group_name = r.group_name and f."partition" = r."partition"
        and f."offset" in (
          select o."offset" from millrace.event_failure o
          where o.group_name = r.group_name and o."partition" = r."partition" and o.was_dead
            and o.status not in ('retrying', 'parked') and o.failed_at < v_before
          order by o."offset" limit v_left)
      returning f.tenant_id, coalesce(f.key, '') as key
    )
    select array_agg(g.tenant_id), array_agg(g.key), count(*)::int
      into v_tenants, v_keys, removed from gone g;
    if removed > 0 then
      perform millrace.promote_parked(r.group_name, r."partition", v_tenants, v_keys);
      group_name := r.group_name;
      "partition" := r."partition";
      v_left := v_left - removed;
      return next;
    end if;
  end loop;
end $$;

revoke execute on function millrace.type_is_wanted, millrace.expire_dead_letters from public;
grant execute on function millrace.type_is_wanted to millrace_app, millrace_worker;
grant execute on function millrace.expire_dead_letters to millrace_worker;
reset role;
