-- Moves committed staged events into the log. $1 floor (xid8 as text), $2 limit.
select moved, floor::text, partitions from millrace.sequence_staged($1::text::xid8, $2)
