-- Removes old dead letters. $1 groups, $2 older than milliseconds, $3 letters at most.
-- Rows: group, partition, how many went.
select group_name, "partition", removed
from millrace.expire_dead_letters($1, $2::float8 * interval '1 millisecond', $3)
