-- Forgets answers to enqueues that nobody repeats any more. $1 rows at most.
delete from millrace.job_enqueue e using (
  select x.enqueue_id from millrace.job_enqueue x
  where x.enqueued_at < clock_timestamp() - interval '1 hour' limit $1
) old where e.enqueue_id = old.enqueue_id
