-- Closes a pending investigation. $1 entry, $2 status, $3 by whom, $4 notes. No row: none is pending.
update millrace.workflow_dead_letter d
set status = $2, resolved_at = clock_timestamp(), resolved_by = $3, notes = coalesce($4, d.notes)
where d.entry_id = $1 and d.status = 'pending' and $2 <> 'pending'
returning d.entry_id, d.run_id, d.tenant_id, d.reason, d.status, d.state,
  extract(epoch from d.entered_at)::float8 * 1000,
  extract(epoch from d.resolved_at)::float8 * 1000, d.resolved_by, d.notes, d.snapshot::text
