-- $1 runs at most. Row: how many got a job, whether some are left, queues woken.
select runs, more, woken from millrace.recover_runs($1)
