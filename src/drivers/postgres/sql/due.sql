-- Keys whose first event is due, each with what waits behind it, in order, up to a dead letter
-- or a retry that is not due yet. One time for the whole statement: a clock that goes on while it
-- runs would let events pass those in front of them.
-- $1 group, $2 partition, $3 keys at most, $4 events per key at most.
-- Rows: attempts, edited payload, then the event's columns.
select f.attempts, f.edited_payload, {{event}}
from (
  select r.tenant_id, coalesce(r.key, '') as key, r."offset" from millrace.event_failure r
  where r.group_name = $1 and r."partition" = $2 and r.status = 'retrying'
    and r.next_attempt_at <= statement_timestamp()
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
  select w.*, bool_or(
    w.status = 'dead' or (w.status = 'retrying' and w.next_attempt_at > statement_timestamp())
  ) over (order by w."offset") as beyond
  from (
    select l."offset", l.attempts, l.edited_payload, l.status, l.next_attempt_at
    from millrace.event_failure l
    where l.group_name = $1 and l."partition" = $2 and l.tenant_id = head.tenant_id
      and coalesce(l.key, '') = head.key and l.status in ('retrying', 'parked', 'dead')
      and l."offset" >= head."offset"
    order by l."offset"
    limit $4
  ) w
) f
join millrace.event e on e."partition" = $2 and e."offset" = f."offset"
where not f.beyond
order by e."offset"
