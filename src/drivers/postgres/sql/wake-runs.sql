-- $1 runs at most. Row: how many got a job, milliseconds until the next one is due, queues woken,
-- runs that got messages and may be held.
select runs, next_ms, woken, told from millrace.wake_runs($1)
