-- Says that a worker lives, and who else does. $1 worker id, $2 groups, $3 time to live in ms.
with beat as (
  insert into millrace.worker as w (worker_id, groups) values ($1, $2)
  on conflict (worker_id) do update set heartbeat_at = clock_timestamp(), groups = excluded.groups
)
select w.worker_id, w.groups from millrace.worker w
where w.heartbeat_at > clock_timestamp() - $3 * interval '1 millisecond' and w.worker_id <> $1
union all select $1, $2::text[]
