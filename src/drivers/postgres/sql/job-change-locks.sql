-- Takes the locks that keep settlements and recovery away from these jobs until the end of the
-- transaction, in the order of 0002: epochs, as a job that one holds must not be released by its
-- recovery meanwhile, then lanes. $1 lanes, $2 offsets.
select case k.space when 7313 then pg_advisory_xact_lock_shared(k.space, k.id)::text
  else pg_advisory_xact_lock(k.space, k.id)::text end
from (
  select 1 as turn, 7313 as space, (c.epoch % 2147483647)::int as id
  from unnest($1::int[], $2::bigint[]) as r(lane_id, "offset")
  cross join lateral (
    select s.epoch from millrace.job_state s
    where s.lane_id = r.lane_id and s."offset" = r."offset" and s.epoch is not null
    union all
    select k.epoch from (
      select k.epoch, k.from_offset from millrace.job_claim k
      where k.lane_id = r.lane_id and k.to_offset >= r."offset" order by k.to_offset limit 1
    ) k
    join millrace.job_worker w on w.epoch = k.epoch
    where k.from_offset <= r."offset"
  ) c
  union
  select 2, 7310, l.lane_id from millrace.job_lane l where l.lane_id = any ($1)
  order by 1, 3
  offset 0
) k
