-- Makes queues and lanes of state rows known, outside of a caller's own transaction: an insert of
-- his would hold up others until he commits. $1 queues, $2 tenants.
select millrace.make_row_lanes($1, $2)
