-- Appends what is not there yet. Parameters as for append.
-- Rows: n (1-based place in the batch), partition, offset, duplicate.
select n, "partition", "offset", duplicate
from millrace.append_events_once($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
