-- The last offset of each partition. $1 number of partitions.
select p, coalesce((
  select e."offset" from millrace.event e where e."partition" = p order by e."offset" desc limit 1
), 0)
from generate_series(0, $1::int - 1) p
order by p
