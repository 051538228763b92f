-- Stores runs. $1 the runs as json, $2 epoch of those that are held, or null. Row: runs that were
-- there, by place (json), and queues woken.
select known, woken from millrace.start_runs($1, $2)
