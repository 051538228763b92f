-- Lanes that begin with jobs older than the retention. $1 retention in ms, $2 jobs of a lane to look
-- at, $3 lane to begin behind, $4 lanes at most.
select l.lane_id from millrace.job_lane l
cross join lateral (
  select j."offset", j.enqueued_at, j.name from millrace.job j
  where j.lane_id = l.lane_id order by j."offset" limit 1
) f
cross join lateral (select clock_timestamp() - $1::float8 * interval '1 millisecond' as time) before
cross join lateral millrace.prunable_jobs(l.lane_id, before.time, $2) p
where l.by_range and l.lane_id > $3 and f.enqueued_at < before.time
  -- Most lanes of a database with many keys: empty but for their last row.
  and (f.name <> '' or exists (select 1 from millrace.job n
    where n.lane_id = l.lane_id and n."offset" > f."offset"))
  and (p.last_offset >= p.first_offset or p.head_offset is not null)
order by l.lane_id limit $4
