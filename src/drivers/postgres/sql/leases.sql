-- The newest lease of each partition. $1 groups, $2 time to live in ms, $3 number of partitions.
select g, p, l.epoch, l.worker_id, coalesce(
  w.heartbeat_at > clock_timestamp() - $2 * interval '1 millisecond', false)
from unnest($1::text[]) g
cross join generate_series(0, $3::int - 1) p
cross join lateral (
  select epoch, worker_id from millrace.lease
  where group_name = g and "partition" = p order by epoch desc limit 1
) l
left join millrace.worker w on w.worker_id = l.worker_id
