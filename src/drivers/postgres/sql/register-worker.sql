-- A new epoch. $1 worker id, $2 queues, $3 host, $4 pid, $5 time to live in ms.
insert into millrace.job_worker (worker_id, queues, host, pid, time_to_live_ms)
values ($1, $2, $3, $4, $5) returning epoch
