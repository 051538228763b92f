-- The earliest tick of all schedules; no row when there is none.
select next_at from millrace.job_schedule where next_at is not null and not paused
order by next_at
limit 1
