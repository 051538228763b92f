-- Opens an investigation unless one is pending for the run. $1 entry, $2 run, $3 reason, $4 snapshot.
insert into millrace.workflow_dead_letter as d (entry_id, run_id, tenant_id, reason, state, snapshot)
select $1::uuid, r.run_id, r.tenant_id, $3, millrace.task_state_name(coalesce((
    select h.state from millrace.workflow_history h where h.run_id = r.run_id
    order by h.seq desc limit 1
  ), 0)), $4::json
from millrace.workflow_run r where r.run_id = $2
on conflict (run_id) where status = 'pending' do nothing
returning d.entry_id, d.run_id, d.tenant_id, d.reason, d.status, d.state,
  extract(epoch from d.entered_at)::float8 * 1000,
  extract(epoch from d.resolved_at)::float8 * 1000, d.resolved_by, d.notes, d.snapshot::text
