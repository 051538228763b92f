-- The present state of every exception, folded from its events; for lists and counts. It holds
-- nothing that the log does not: the subscription `projection` can write it again from the start.
create schema if not exists millrace_exceptions authorization millrace_owner;
set local role millrace_owner;
grant usage on schema millrace_exceptions to millrace_app, millrace_worker;

-- Which tenants there are: the one thing that an operator asks across tenants.
create table millrace_exceptions.tenant (
  tenant_id text primary key,
  first_seen_at timestamptz not null default clock_timestamp()
);

create table millrace_exceptions.exception (
  tenant_id text not null,
  exception_id text not null,
  -- The last event folded in. Its partition never changes, so a greater offset is a later event.
  last_offset bigint not null,
  events int not null,
  domain text not null,
  source_system text not null,
  exception_type text not null,
  severity text not null check (severity in ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL')),
  status text not null
    check (status in ('OPEN', 'IN_PROGRESS', 'RESOLVED', 'ESCALATED', 'PENDING_APPROVAL')),
  stage text not null,
  -- Null while it is on its way.
  outcome text check (outcome in ('RESOLVED', 'ESCALATED')),
  reason text,
  -- The group that could not handle an event of it; null again once a retry has worked.
  dead_letter_group text,
  last_error text,
  owner text,
  amount numeric,
  entity text,
  summary text,
  decision text,
  confidence float8,
  sla_deadline timestamptz,
  sla_status text not null check (sla_status in ('ON_TIME', 'IMMINENT', 'EXPIRED')),
  playbook_id text,
  run_id text,
  current_step int,
  total_steps int,
  -- What a person has to decide, with all that a command needs to let the exception go on.
  waiting json,
  duration_seconds float8,
  occurred_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, exception_id)
) with (fillfactor = 80);

-- Lists are newest first. The rarer filters (domain, type, severity) are checked on the way: a
-- b-tree each would cost every upsert about 1.2 µs and save little beside the tenant's own order.
create index exception_created on millrace_exceptions.exception
  (tenant_id, created_at desc, exception_id desc);
-- What is still somebody's business, in the order of the list. The status itself is in no index: it
-- changes with nearly every write, and then each write would make new entries in all of them.
create index exception_unresolved on millrace_exceptions.exception
  (tenant_id, created_at desc, exception_id desc) where outcome is null or outcome <> 'RESOLVED';

alter table millrace_exceptions.tenant enable row level security;
alter table millrace_exceptions.tenant force row level security;
alter table millrace_exceptions.exception enable row level security;
alter table millrace_exceptions.exception force row level security;
create policy tenant_works on millrace_exceptions.tenant to millrace_app
  using (tenant_id = current_setting('millrace.tenant', true))
  with check (tenant_id = current_setting('millrace.tenant', true));
create policy tenant_works on millrace_exceptions.exception to millrace_app
  using (tenant_id = current_setting('millrace.tenant', true))
  with check (tenant_id = current_setting('millrace.tenant', true));
create policy owner_reads on millrace_exceptions.tenant for select to millrace_owner using (true);
grant select, insert on millrace_exceptions.tenant to millrace_app;
grant select, insert, update on millrace_exceptions.exception to millrace_app;

-- Runs as the owner: names of tenants only, for operators; the tenants' rows stay their own.
create function millrace_exceptions.tenants() returns setof text
language sql stable security definer set search_path = pg_catalog as $$
  select tenant_id from millrace_exceptions.tenant order by tenant_id
$$;
revoke execute on function millrace_exceptions.tenants() from public;
grant execute on function millrace_exceptions.tenants() to millrace_app;
reset role;
