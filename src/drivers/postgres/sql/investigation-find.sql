-- One investigation. $1 entry.
select d.entry_id, d.run_id, d.tenant_id, d.reason, d.status, d.state,
  extract(epoch from d.entered_at)::float8 * 1000,
  extract(epoch from d.resolved_at)::float8 * 1000, d.resolved_by, d.notes, d.snapshot::text
from millrace.workflow_dead_letter d where d.entry_id = $1
