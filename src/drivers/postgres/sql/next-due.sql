-- Milliseconds until the next retry. $1 group, $2 partition.
-- No row when nothing is to be retried (greatest() would make a 0 of a null).
select greatest(0, extract(epoch from min(next_attempt_at) - clock_timestamp()) * 1000)::float8
from millrace.event_failure
where group_name = $1 and "partition" = $2 and status = 'retrying'
having count(*) > 0
