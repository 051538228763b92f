-- $1 event ids, $2 tenants, $3 types, $4 keys, $5 payloads. Row: messages stored, queues woken,
-- runs that got messages and may be held.
select delivered, woken, told from millrace.deliver_events($1, $2, $3, $4, $5)
