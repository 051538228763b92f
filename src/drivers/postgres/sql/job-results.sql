-- What jobs returned, in the order asked; null for none. $1 lanes, $2 offsets.
select e.result from unnest($1::int[], $2::bigint[]) with ordinality as r(lane_id, "offset", n)
left join millrace.job_result e on e.lane_id = r.lane_id and e."offset" = r."offset"
order by r.n
