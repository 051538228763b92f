-- The newest cursor link; of a group without one, the end of what was removed, so that it begins
-- with the first event that is left. $1 group, $2 partition. Always one row; seq 0: no link.
select coalesce(c.seq, 0), greatest(coalesce(c."position", 0), s.removed),
  coalesce(c.ahead, '{}')
from (
  select coalesce(max(first_offset), 1) - 1 as removed from millrace.log_start
  where "partition" = $2
) s
left join lateral (
  select seq, "position", ahead from millrace.group_cursor
  where group_name = $1 and "partition" = $2
  order by seq desc limit 1
) c on true
