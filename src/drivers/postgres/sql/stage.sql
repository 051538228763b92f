-- Stages events in the caller's own transaction. $1 partitions, $2-$11 the columns of stage_events.
select millrace.stage_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
