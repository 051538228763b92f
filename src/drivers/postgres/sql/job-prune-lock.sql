-- Keeps the jobs of a lane from being retried until the end of the transaction. $1 lane.
select pg_advisory_xact_lock(7310, $1)::text
