-- Investigations, newest first. $1 tenant, $2 run, $3 status, $4 reason, each or null; $5 below this
-- entry, $6 most.
select d.entry_id, d.run_id, d.tenant_id, d.reason, d.status, d.state,
  extract(epoch from d.entered_at)::float8 * 1000,
  extract(epoch from d.resolved_at)::float8 * 1000, d.resolved_by, d.notes, d.snapshot::text
from millrace.workflow_dead_letter d
where ($1::text is null or d.tenant_id = $1) and ($2::uuid is null or d.run_id = $2)
  and ($3::text is null or d.status = $3) and ($4::text is null or d.reason = $4)
  and d.entry_id < $5::uuid
order by d.entry_id desc limit $6
