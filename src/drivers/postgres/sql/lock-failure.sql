-- Locks a group's partition for a verb, and shows the letter. $1 tenant, $2 group, $3 event id.
select f."partition", f."offset", f.status, coalesce(f.key, ''),
  pg_advisory_xact_lock(hashtext('millrace.group:' || f.group_name), f."partition")::text
from millrace.event_failure f
where f.tenant_id = $1 and f.group_name = $2 and f.event_id = $3 and f.was_dead
