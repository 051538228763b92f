-- Whether an epoch's link of a run's history is stored. $1 run, $2 seq, $3 epoch.
select exists (
  select from millrace.workflow_history h where h.run_id = $1 and h.seq = $2 and h.epoch = $3
)
