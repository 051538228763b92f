-- Processes that work on jobs, the newest first; the silent ones until they are declared dead.
select w.epoch, w.worker_id, w.queues, w.started_at, w.heartbeat_at,
  w.heartbeat_at >= clock_timestamp() - w.time_to_live_ms * interval '1 millisecond', w.running,
  w.concurrency, w.host, w.pid
from millrace.job_worker w order by w.epoch desc
