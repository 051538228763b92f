-- Open runs beyond one of some limits, oldest id first. $1 the limits as JSON: [{ states: places, ms,
-- of: 'state' | 'run' }], $2 after this id, $3 most.
select r.run_id::text from millrace.workflow_run r
left join lateral (
  select k.state, k.at from millrace.workflow_history k where k.run_id = r.run_id
  order by k.seq desc limit 1
) h on true
where r.run_id > $2::uuid
  and not exists (select 1 from millrace.workflow_end e where e.run_id = r.run_id)
  and exists (
    select 1 from json_to_recordset($1::json) as l(states jsonb, ms float8, "of" text)
    where l.states @> to_jsonb(coalesce(h.state, 0)::int)
      and case when l."of" = 'run' then r.started_at else coalesce(h.at, r.started_at) end
        <= clock_timestamp() - l.ms * interval '1 millisecond'
  )
order by r.run_id limit $3
