-- Cursor and follow-up events in one statement, one transaction, one round trip.
-- $1 group, $2 partition, $3 epoch, $4 seq, $5 position, $6 ahead, $7-$18 as for append.
select millrace.settle_cursor($1, $2, $3, $4, $5, $6),
  millrace.append_events($7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
