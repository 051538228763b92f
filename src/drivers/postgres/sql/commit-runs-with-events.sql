-- As commit-runs, with events that are appended soon after the commit: $13 partitions, $14-$23 the
-- columns of stage_events.
select c.number, c.woken, c.unread, c.told,
  millrace.stage_events($13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)
from millrace.commit_runs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) c
