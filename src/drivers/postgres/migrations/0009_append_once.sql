-- Appending once knew ids without their tenants: in a batch that held a known event of one tenant, a
-- new event of another tenant with the same id was left out.
-- Runs in one transaction as the connecting user.
set local role millrace_owner;

-- The same for events that may be there already: a caller's own event ids, and the second try after
-- a commit whose answer was lost. Returns where each event stands, in the order given.
create or replace function millrace.append_events_once(
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
  -- Ids are a tenant's own: another tenant may have the same one in the same batch.
  v_known text[];
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'append needs read committed' using errcode = 'MR001';
  end if;
  for i in 1 .. coalesce(array_length(p_partitions, 1), 0) loop
    perform pg_advisory_xact_lock(7305, p_partitions[i]);
  end loop;
  select coalesce(array_agg(e.event_id || e.tenant_id), '{}') into v_known
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
      where x.event_id || x.tenant_id <> all (v_known)
    ) f
    where f.copy = 1;
    v_from := v_to + 1;
  end loop;
  return query
    select x.n, e."partition", e."offset", x.event_id || x.tenant_id = any (v_known)
      or row_number() over (partition by x.tenant_id, x.event_id order by x.n) > 1
    from unnest(p_ids, p_tenants) with ordinality as x(event_id, tenant_id, n)
    join millrace.event e on e.tenant_id = x.tenant_id and e.event_id = x.event_id
    order by x.n;
end $$;

reset role;
