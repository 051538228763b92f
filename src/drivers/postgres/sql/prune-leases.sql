-- Removes leases older than the newest of their partition. $1 limit.
delete from millrace.lease d using (
  select l.group_name, l."partition", l.epoch from millrace.lease l
  where l.taken_at < clock_timestamp() - interval '1 hour' and exists (
    select 1 from millrace.lease n where n.group_name = l.group_name
      and n."partition" = l."partition" and n.epoch > l.epoch
  )
  limit $1
) old
where d.group_name = old.group_name and d."partition" = old."partition" and d.epoch = old.epoch
