-- Enqueues jobs with a state row each. $1 the jobs as json, $2 enqueue id, null in a caller's
-- own transaction.
select lane_id, "offset", duplicate from millrace.enqueue_jobs($1, $2) order by n
