-- What became of a transaction: committed, aborted, in progress; null when long ago. $1 its number.
-- 'committed' proves nothing: after a crash the server gives numbers anew that it had not yet
-- written down, and the one asked for may be another's.
select pg_xact_status($1::xid8)
