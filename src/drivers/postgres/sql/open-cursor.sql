-- The newest cursor link. $1 group, $2 partition.
select seq, "position", coalesce(ahead, '{}') from millrace.group_cursor
where group_name = $1 and "partition" = $2
order by seq desc limit 1
