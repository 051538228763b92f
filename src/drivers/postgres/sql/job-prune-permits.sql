-- Removes links of a queue's permit chains that are not the newest of their scope. $1 rows at most.
delete from millrace.job_permit d using (
  select p.queue_id, p.scope, p.seq from millrace.job_permit p
  where exists (select 1 from millrace.job_permit n
    where n.queue_id = p.queue_id and n.scope = p.scope and n.seq = p.seq + 1)
  limit $1
) old
where d.queue_id = old.queue_id and d.scope = old.scope and d.seq = old.seq
