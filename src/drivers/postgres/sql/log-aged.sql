-- Partitions with events that a mark covers which is old enough. $1 retention in milliseconds.
select distinct m."partition" from millrace.log_mark m
left join millrace.log_start s on s."partition" = m."partition"
where m.seen_at <= clock_timestamp() - $1::float8 * interval '1 millisecond'
  and m."offset" >= coalesce(s.first_offset, 1)
order by 1
