-- Removes the oldest events of a partition. $1 partition, $2 retention in milliseconds, $3 at most.
-- One row: how many, whether there are more, then who holds the rest: reason, group, offset.
select removed, more, reason, group_name, "offset"
from millrace.trim_log($1, $2::float8 * interval '1 millisecond', $3)
