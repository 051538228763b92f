-- Tells those that wait for these jobs that they will not complete. $1 lanes, $2 offsets.
select millrace.finish_parents($1, $2, $2, false)::text
