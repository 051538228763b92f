-- Changes of a run in order, as stored. $1 run.
select h.seq, h.change from millrace.workflow_history h where h.run_id = $1 order by h.seq
