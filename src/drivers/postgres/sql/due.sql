-- Keys whose first event is due, each with what waits behind it, in order, up to a dead letter
-- or a retry that is not due yet.
-- $1 group, $2 partition, $3 keys at most, $4 events per key at most.
-- Rows: attempts, edited payload, then the event's columns.
select f.attempts, f.edited_payload, {{event}}
from (
  select r.tenant_id, coalesce(r.key, '') as key, r."offset" from millrace.event_failure r
  where r.group_name = $1 and r."partition" = $2 and r.status = 'retrying'
    and r.next_attempt_at <= clock_timestamp()
    and not exists (
      select 1 from millrace.event_failure b
      where b.group_name = $1 and b."partition" = $2 and b.tenant_id = r.tenant_id
        and coalesce(b.key, '') = coalesce(r.key, '')
        and b.status in ('retrying', 'parked', 'dead') and b."offset" < r."offset"
    )
  order by r.next_attempt_at
  limit $3
) head
cross join lateral (
  select w."offset", w.attempts, w.edited_payload from millrace.event_failure w
  where w.group_name = $1 and w."partition" = $2 and w.tenant_id = head.tenant_id
    and coalesce(w.key, '') = head.key and w.status in ('retrying', 'parked')
    and w."offset" >= head."offset"
    and not exists (
      select 1 from millrace.event_failure d
      where d.group_name = $1 and d."partition" = $2 and d.tenant_id = head.tenant_id
        and coalesce(d.key, '') = head.key and d."offset" between head."offset" and w."offset"
        and (d.status = 'dead' or (d.status = 'retrying' and d.next_attempt_at > clock_timestamp()))
    )
  order by w."offset"
  limit $4
) f
join millrace.event e on e."partition" = $2 and e."offset" = f."offset"
order by e."offset"
