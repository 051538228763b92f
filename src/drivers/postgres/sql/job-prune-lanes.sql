-- Lanes that begin with jobs older than the retention. $1 retention in ms, $2 jobs of a lane to look
-- at, $3 lane to begin behind, $4 lanes at most.
select l.lane_id from millrace.job_lane l
cross join lateral (
  select j.enqueued_at from millrace.job j where j.lane_id = l.lane_id order by j."offset" limit 1
) f
cross join lateral (select clock_timestamp() - $1::float8 * interval '1 millisecond' as time) before
cross join lateral millrace.prunable_jobs(l.lane_id, before.time, $2) p
where l.by_range and l.lane_id > $3 and f.enqueued_at < before.time
  and (p.last_offset >= p.first_offset or p.head_offset is not null)
order by l.lane_id limit $4
