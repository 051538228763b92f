-- A page of dead letters, newest first. $1 tenant, $2 group, $3 LIKE pattern of event types, $4 exception,
-- $5 fingerprint, $6 status, $7 limit, $8 failed_at, $9 event id, $10 group of the last one before.
select * from millrace.dead_letter_events d
where d.tenant_id = $1
  and ($2::text is null or d.worker_type = $2)
  and ($3::text is null or d.event_type like $3)
  and ($4::text is null or d.exception_id = $4)
  and ($5::text is null or d.fingerprint = $5)
  and ($6::text is null or d.status = $6)
  and ($8::timestamptz is null or (d.failed_at, d.event_id, d.worker_type) < ($8, $9::uuid, $10))
order by d.failed_at desc, d.event_id desc, d.worker_type desc
limit $7
