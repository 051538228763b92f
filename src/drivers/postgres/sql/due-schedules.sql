-- Schedules that shall fire, the oldest tick first. $1 now, by the scheduler's clock, $2 at most.
select name, tenant_id, rule, job, paused, next_at, last_at, revision
from millrace.job_schedule
where next_at <= $1 and next_at is not null and not paused
order by next_at, tenant_id, name
limit $2
