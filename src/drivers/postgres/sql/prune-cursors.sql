-- Removes links that are neither the newest nor the first of their minute, an hour after they were
-- written: the time an event was processed stays known to the minute. $1 limit.
delete from millrace.group_cursor d using (
  select c.group_name, c."partition", c.seq from millrace.group_cursor c
  where c.settled_at < clock_timestamp() - interval '1 hour'
    and exists (
      select 1 from millrace.group_cursor n
      where n.group_name = c.group_name and n."partition" = c."partition" and n.seq = c.seq + 1
        and date_trunc('minute', n.settled_at) = date_trunc('minute', c.settled_at)
    )
  order by c.group_name, c."partition", c.seq
  limit $1
) old
where d.group_name = old.group_name and d."partition" = old."partition" and d.seq = old.seq
