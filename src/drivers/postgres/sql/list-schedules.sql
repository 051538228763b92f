-- Schedules by name. $1 tenant, null for all.
select name, tenant_id, rule, job, paused, next_at, last_at, revision
from millrace.job_schedule where $1::text is null or tenant_id = $1
order by tenant_id, name
