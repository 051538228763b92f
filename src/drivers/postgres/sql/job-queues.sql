-- Every queue there is, with its settings.
select q.queue_name, q.paused_at, q.concurrency_max, q.rate_max, q.rate_per_ms,
  q.key_concurrency_max, q.key_rate_max, q.key_rate_per_ms, q.length_max
from millrace.job_queue q order by q.queue_name
