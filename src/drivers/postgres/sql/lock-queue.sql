-- Keeps claims and permits of a queue still until the end of the transaction. $1 queue id.
select pg_advisory_xact_lock(7312, $1)
