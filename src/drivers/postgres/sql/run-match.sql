-- Ids that begin or end with a text, newest first. $1 least and $2 greatest id that begins with it
-- (null: none can), $3 the text, $4 tenant or null, $5 how many of the newest runs to look at for
-- endings, $6 most.
select x.run_id from (
  (
    select r.run_id from millrace.workflow_run r
    where r.run_id between $1::uuid and $2::uuid and ($4::text is null or r.tenant_id = $4)
    order by r.run_id desc limit $6
  )
  union
  (
    select n.run_id from (
      select r.run_id, r.tenant_id from millrace.workflow_run r order by r.run_id desc limit $5
    ) n
    where right(n.run_id::text, length($3)) = $3 and ($4::text is null or n.tenant_id = $4)
    order by n.run_id desc limit $6
  )
) x order by x.run_id desc limit $6
