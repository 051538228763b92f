-- How many runs are in each state. $1 to $8 as in run-list.sql. Of those that ended the end says it:
-- one look into a hash instead of one into the index of histories.
select x.state, count(*)::int from (
  select coalesce(
    case e.state when 'complete' then 8 when 'error' then 9 when 'cancelled' then 10
      when 'resolved_manually' then 11 end,
    (select h.state from millrace.workflow_history h where h.run_id = r.run_id
      order by h.seq desc limit 1),
    0) as state
  from millrace.workflow_run r
  left join millrace.workflow_end e on e.run_id = r.run_id
  where ($1::text is null or r.tenant_id = $1)
    and ($2::text is null or r.namespace = $2) and ($3::text is null or r.name = $3)
    and ($5::text is null or r.correlation_id = $5) and ($6::uuid is null or r.parent_run = $6)
    and ($7::float8 is null or r.started_at >= to_timestamp($7 / 1000))
    and ($8::float8 is null or r.started_at < to_timestamp($8 / 1000))
) x
where $4::int[] is null or x.state = any ($4)
group by x.state order by x.state
