-- The newest position of each partition of each group. $1 groups, $2 number of partitions.
select g, p, coalesce(c."position", 0)
from unnest($1::text[]) g
cross join generate_series(0, $2::int - 1) p
left join lateral (
  select "position" from millrace.group_cursor
  where group_name = g and "partition" = p order by seq desc limit 1
) c on true
