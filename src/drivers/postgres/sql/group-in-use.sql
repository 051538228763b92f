-- What stands against removing a group. $1 group, $2 a worker heard of within so many milliseconds
-- lives. Row: live workers, open failures.
select (
    select count(*)::int from millrace.worker w where $1 = any (w.groups)
      and w.heartbeat_at > clock_timestamp() - $2::float8 * interval '1 millisecond'
  ), (
    select count(*)::int from millrace.event_failure f
    where f.group_name = $1 and f.status in ('retrying', 'parked', 'dead')
  )
