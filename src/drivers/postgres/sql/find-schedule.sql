-- One schedule. $1 tenant, $2 name.
select name, tenant_id, rule, job, paused, next_at, last_at, revision
from millrace.job_schedule where tenant_id = $1 and name = $2
