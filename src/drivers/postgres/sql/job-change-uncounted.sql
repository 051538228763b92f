-- Locks those of these jobs whose parents nobody has counted yet, before all locks of 0002: who
-- counts them locks their rows first, too. $1 lanes, $2 offsets.
select true from unnest($1::int[], $2::bigint[]) as r(lane_id, "offset")
join millrace.job_state s on s.lane_id = r.lane_id and s."offset" = r."offset"
where s.status = 'blocked' and s.parents_left < 0
order by s.lane_id, s."offset"
for update of s
