-- Appends a batch. $1 partitions int[], $2 counts int[], $3-$12 the columns of append_events.
-- One row: the first offset of each partition.
select millrace.append_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
