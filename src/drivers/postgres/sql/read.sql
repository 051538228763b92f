-- Reads a range of one partition. $1 partition, $2 after, $3 limit, $4 types text[] or null,
-- $5 last offset to look at, $6 LIKE patterns beside the types. Rows: head, then the event's columns (null when none matched).
-- One statement, one snapshot: nothing up to head can appear later, so a cursor may pass it.
select h.head, e.*
from (
  select coalesce(max("offset"), 0) as head from millrace.event where "partition" = $1
) h
left join lateral (
  select {{event}}
  from millrace.event e
  where e."partition" = $1 and e."offset" > $2 and e."offset" <= $5
    and ($4::text[] is null or e.event_type = any ($4) or e.event_type like any ($6::text[]))
  order by e."offset"
  limit $3
) e on true
