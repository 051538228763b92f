-- $1 retention in ms, $2 runs at most. Row: how many were removed.
select millrace.prune_runs($1, $2)
