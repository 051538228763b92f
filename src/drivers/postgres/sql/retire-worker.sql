-- Forgets an epoch; what it holds waits again. $1 epoch.
select millrace.retire_worker($1)
