-- One event. $1 tenant, $2 event id.
select {{event}} from millrace.event e where e.tenant_id = $1 and e.event_id = $2
