-- The first offset that is left of each partition. $1 number of partitions.
select coalesce(s.first_offset, 1)
from generate_series(0, $1::int - 1) p
left join millrace.log_start s on s."partition" = p
order by p
