-- Keys whose first event is due, each with what waits behind it, in order.
-- $1 group, $2 partition, $3 keys at most, $4 events per key at most.
-- Rows: attempts, edited payload, then the event's columns.
select f.attempts, f.edited_payload, {{event}}
from (
  select tenant_id, coalesce(key, '') as key, "offset" from millrace.event_failure
  where group_name = $1 and "partition" = $2 and status = 'retrying'
    and next_attempt_at <= clock_timestamp()
  order by next_attempt_at
  limit $3
) head
cross join lateral (
  select w."offset", w.attempts, w.edited_payload from millrace.event_failure w
  where w.group_name = $1 and w."partition" = $2 and w.tenant_id = head.tenant_id
    and coalesce(w.key, '') = head.key and w.status in ('retrying', 'parked')
    and w."offset" >= head."offset"
  order by w."offset"
  limit $4
) f
join millrace.event e on e."partition" = $2 and e."offset" = f."offset"
order by e."offset"
