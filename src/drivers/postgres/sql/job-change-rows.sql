-- Locks the rows of these jobs and of those that wait for them, before the lock of their queue: a
-- settlement changes rows of children and takes its queue's lock afterwards. Claims hold the queue's
-- lock and skip locked rows. Children that nobody has counted yet are left to who counts them.
-- $1 lanes, $2 offsets.
with recursive family as (
  select r.lane_id, r."offset" from unnest($1::int[], $2::bigint[]) as r(lane_id, "offset")
  union
  select d.child_lane, d.child_offset from family f
  join millrace.job_dependency d on d.parent_lane = f.lane_id and d.parent_offset = f."offset"
)
select true from family f
join millrace.job_state s on s.lane_id = f.lane_id and s."offset" = f."offset"
where s.status <> 'blocked' or s.parents_left >= 0
order by s.lane_id, s."offset"
for update of s
