-- Every group and where it stands. $1 number of partitions, $2 a worker heard of within so many
-- milliseconds lives. Rows: group, types, registered at, live workers, open failures, then arrays
-- by partition: position, first offset with an open failure or null.
select g.name, r.event_types, r.registered_at, (
    select count(*)::int from millrace.worker w where g.name = any (w.groups)
      and w.heartbeat_at > clock_timestamp() - $2::float8 * interval '1 millisecond'
  ), (
    select count(*)::int from millrace.event_failure f
    where f.group_name = g.name and f.status in ('retrying', 'parked', 'dead')
  ), h.positions, h.failures
from (
  select h.group_name as name, array_agg(h."position"::text order by p) as positions,
    array_agg(h.first_failure::text order by p) as failures
  from generate_series(0, $1::int - 1) p cross join lateral millrace.log_holds(p) h
  group by h.group_name
) h
cross join lateral (select h.name) g
left join millrace.consumer_group r on r.group_name = g.name
order by g.name
