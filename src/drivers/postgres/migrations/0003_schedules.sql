-- Schedules: what is enqueued when, and which ticks were enqueued already. The rules of time are the
-- runtime's; here a tick fires once, however many schedulers there are and whatever they believe.
set local role millrace_owner;

-- For all schedules, so that one that was removed and saved anew has no revision of its first life.
create sequence millrace.job_schedule_revision;

-- next_at null: it will not fire any more. revision: whoever saw an older one may not fire it.
create table millrace.job_schedule (
  tenant_id text not null,
  name text not null,
  rule json not null,
  job json not null,
  paused boolean not null,
  next_at timestamptz,
  last_at timestamptz,
  revision bigint not null default nextval('millrace.job_schedule_revision'),
  primary key (tenant_id, name)
);
create index job_schedule_due on millrace.job_schedule (next_at)
  where next_at is not null and not paused;

-- Fire ids. They outlive their schedule: a tick is enqueued once, also when it is saved anew.
create table millrace.job_fire (
  tenant_id text not null,
  name text not null,
  tick_at timestamptz not null,
  fired_at timestamptz not null default clock_timestamp(),
  primary key (tenant_id, name, tick_at)
);
create index job_fire_age on millrace.job_fire (fired_at);

-- Enqueues p_jobs[i] for p_ticks[i] and moves the schedule on, or answers false when p_revision is
-- not the newest. The update comes first: a scheduler that is late waits for the row and then finds
-- another revision. A tick that fired before (its scheduler's clock was set back, or somebody saved
-- the schedule with an old next_at) is left out.
create function millrace.fire_schedule(
  p_tenant text, p_name text, p_revision bigint, p_ticks timestamptz[], p_jobs json,
  p_next timestamptz, p_last timestamptz
) returns boolean language plpgsql as $$
declare
  v_jobs json;
begin
  update millrace.job_schedule s set next_at = p_next, last_at = p_last,
    revision = nextval('millrace.job_schedule_revision')
  where s.tenant_id = p_tenant and s.name = p_name and s.revision = p_revision;
  if not found then
    return false;
  end if;
  with fired as (
    insert into millrace.job_fire (tenant_id, name, tick_at)
    select p_tenant, p_name, t from unnest(p_ticks) t on conflict do nothing
    returning tick_at
  )
  select json_agg(j.job order by j.n) into v_jobs
  from json_array_elements(p_jobs) with ordinality as j(job, n)
  join fired f on f.tick_at = p_ticks[j.n];
  if v_jobs is not null then
    perform millrace.enqueue_jobs(v_jobs, null);
  end if;
  -- More than each firing adds, so that the table shrinks again after a busy month.
  delete from millrace.job_fire f where (f.tenant_id, f.name, f.tick_at) in (
    select o.tenant_id, o.name, o.tick_at from millrace.job_fire o
    where o.fired_at < clock_timestamp() - interval '30 days'
    order by o.fired_at limit 10 + 2 * cardinality(p_ticks) for update skip locked
  );
  return true;
end $$;

-- Row-level security as in 0001.
do $rls$
declare
  t text;
begin
  foreach t in array array['job_schedule', 'job_fire'] loop
    execute format('alter table millrace.%I enable row level security', t);
    execute format('alter table millrace.%I force row level security', t);
    execute format('create policy engine on millrace.%I to millrace_worker
      using (true) with check (true)', t);
    execute format('create policy tenant_reads on millrace.%I for select to millrace_app
      using (tenant_id = current_setting(''millrace.tenant'', true))', t);
    execute format('grant select, insert, update, delete on millrace.%I to millrace_worker', t);
    execute format('grant select on millrace.%I to millrace_app', t);
  end loop;
end
$rls$;
grant usage on sequence millrace.job_schedule_revision to millrace_worker;
revoke execute on function millrace.fire_schedule from public;
grant execute on function millrace.fire_schedule to millrace_worker;
reset role;
