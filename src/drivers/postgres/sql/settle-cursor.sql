-- The cursor alone. $1 group, $2 partition, $3 epoch, $4 seq, $5 position, $6 ahead.
select millrace.settle_cursor($1, $2, $3, $4, $5, $6)
