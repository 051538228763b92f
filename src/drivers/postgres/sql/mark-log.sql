-- Notes how far each partition reaches, where it has grown and the last mark is old enough.
-- The time is taken after the statement's snapshot: what it sees was stored before.
-- $1 number of partitions, $2 milliseconds between two marks.
insert into millrace.log_mark ("partition", "offset")
select p, h."offset"
from generate_series(0, $1::int - 1) p
cross join lateral (
  select e."offset" from millrace.event e where e."partition" = p order by e."offset" desc limit 1
) h
left join lateral (
  select m."offset", m.seen_at from millrace.log_mark m
  where m."partition" = p order by m."offset" desc limit 1
) last on true
where last."offset" is null or (h."offset" > last."offset"
  and last.seen_at <= clock_timestamp() - $2::float8 * interval '1 millisecond')
on conflict do nothing
