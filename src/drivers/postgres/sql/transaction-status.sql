-- What became of a transaction: committed, aborted, in progress; null when long ago. $1 its number.
select pg_xact_status($1::xid8)
