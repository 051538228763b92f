-- Makes a group known. $1 name, $2 event types, $3 true to start at the end of the log.
-- A group that starts at the end gets one cursor link per partition; $4 number of partitions.
with registered as (
  insert into millrace.consumer_group as g (group_name, event_types)
  values ($1, $2)
  on conflict (group_name) do update set event_types = excluded.event_types
  returning xmax = 0 as is_new
)
insert into millrace.group_cursor (group_name, "partition", seq, epoch, "position")
select $1, p, 1, 0, coalesce((
  select e."offset" from millrace.event e where e."partition" = p order by e."offset" desc limit 1
), 0)
from registered, generate_series(0, $4::int - 1) p
where is_new and $3
on conflict do nothing
