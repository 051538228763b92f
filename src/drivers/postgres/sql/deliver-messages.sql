-- $1 runs, $2 message ids, $3 kinds, $4 names, $5 payloads. Row: what became of each, queues
-- woken, runs that got messages and may be held.
select deliveries, woken, told from millrace.deliver_messages($1, $2, $3, $4, $5)
