-- The tree of causes that an event belongs to, parents first. $1 tenant, $2 event id, $3 limit.
-- A tree shares its correlation, so the set is found by index and the recursion stays inside it.
with recursive seed as (
  select coalesce(correlation_id, key, event_id::text) as correlation
  from millrace.event where tenant_id = $1 and event_id = $2
), members as (
  select e.event_id from millrace.event e, seed s
  where e.tenant_id = $1 and e.key = s.correlation and e.correlation_id is null
  union
  select e.event_id from millrace.event e, seed s
  where e.tenant_id = $1 and e.correlation_id = s.correlation
  union
  select $2::uuid
  union
  -- A root without a key: its correlation is its own id.
  select s.correlation::uuid from seed s
  where s.correlation ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
), family as materialized (
  select e.* from members m join millrace.event e on e.tenant_id = $1 and e.event_id = m.event_id
), climb as (
  select f.event_id, f.causation_id, 0 as steps from family f where f.event_id = $2
  union all
  select f.event_id, f.causation_id, c.steps + 1 from climb c
  join family f on f.event_id = c.causation_id where c.steps < 1000
), tree as (
  select event_id, 0 as depth, array["partition"::bigint, "offset"] as path from family
  where event_id = (select event_id from climb order by steps desc limit 1)
  union all
  select f.event_id, t.depth + 1, t.path || array[f."partition"::bigint, f."offset"]
  from tree t join family f on f.causation_id = t.event_id where t.depth < 1000
)
select t.depth, {{event}} from tree t join family e on e.event_id = t.event_id
order by t.path
limit $3
