-- The first offset that is left of a partition; no row: 1. $1 partition.
select first_offset from millrace.log_start where "partition" = $1
