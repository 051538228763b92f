-- Removes a schedule; its fire ids stay. $1 tenant, $2 name. A row when it was there.
delete from millrace.job_schedule where tenant_id = $1 and name = $2 returning 1
