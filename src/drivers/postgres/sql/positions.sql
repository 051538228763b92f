-- The newest position of each partition of each group. $1 groups, $2 number of partitions.
-- What was removed is behind everybody: a group that has read nothing yet stands at its end.
select g, p, greatest(coalesce(c."position", 0), coalesce(s.first_offset, 1) - 1)
from unnest($1::text[]) g
cross join generate_series(0, $2::int - 1) p
left join millrace.log_start s on s."partition" = p
left join lateral (
  select "position" from millrace.group_cursor
  where group_name = g and "partition" = p order by seq desc limit 1
) c on true
