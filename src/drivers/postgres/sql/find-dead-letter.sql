-- One dead letter. $1 tenant, $2 group, $3 event id.
select * from millrace.dead_letter_events d
where d.tenant_id = $1 and d.worker_type = $2 and d.event_id = $3
