-- One stretch of a page of runs, newest first. $1 tenant, $2 namespace, $3 name, $4 places of states,
-- $5 correlation, $6 parent, $7 started at or after and $8 before (milliseconds), each or null;
-- $9 below this id, $10 from this id on, $11 runs to look at, $12 runs wanted. Answers with the ids,
-- the last one looked at, and how many were.
with scanned as materialized (
  select r.run_id, ($1::text is null or r.tenant_id = $1)
    and ($2::text is null or r.namespace = $2) and ($3::text is null or r.name = $3)
    and ($5::text is null or r.correlation_id = $5) and ($6::uuid is null or r.parent_run = $6)
    and ($7::float8 is null or r.started_at >= to_timestamp($7 / 1000))
    and ($8::float8 is null or r.started_at < to_timestamp($8 / 1000)) as fits
  from millrace.workflow_run r
  where r.run_id < $9::uuid and r.run_id >= $10::uuid
  order by r.run_id desc limit $11
), found as (
  select s.run_id from scanned s
  where s.fits and ($4::int[] is null or coalesce((
    select h.state from millrace.workflow_history h where h.run_id = s.run_id
    order by h.seq desc limit 1
  ), 0) = any ($4))
  order by s.run_id desc limit $12
)
select (select coalesce(array_agg(f.run_id::text order by f.run_id desc), '{}') from found f),
  (select s.run_id::text from scanned s order by s.run_id limit 1),
  (select count(*)::int from scanned)
