-- Moves committed staged events into the log. $1 floor (xid8 as text), $2 limit, $3 when the server
-- started that gave the floor: another one (a standby, a restored copy) counts for itself.
select moved, floor::text, partitions, pg_postmaster_start_time()::text
from millrace.sequence_staged(case when pg_postmaster_start_time()::text = $3
  then $1::text::xid8 else '0'::xid8 end, $2)
