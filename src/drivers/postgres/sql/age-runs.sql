-- Jobs of runs that have waited for long get more urgent by one for each $1 milliseconds that they
-- have waited, counted from the run's own priority: so it is the same who asks, and how often. $2
-- queues, $3 jobs at most. Rows: the queues in which jobs got more urgent, each with their number.
with aged as (
  update millrace.job_state s set priority = x.priority from (
    select w.lane_id, w."offset", a.priority from millrace.job_state w
    join millrace.job j on j.lane_id = w.lane_id and j."offset" = w."offset"
    join millrace.workflow_run r on r.run_id = (j.payload ->> 'runId')::uuid
    cross join lateral (
      select greatest(-2147483648, r.priority
        - floor(extract(epoch from clock_timestamp() - w.run_at) * 1000 / $1::double precision)
      )::int as priority
    ) a
    where w.queue_id in (select q.queue_id from millrace.job_queue q where q.queue_name = any ($2))
      and w.status = 'waiting' and w.name like 'run %' and w.priority > a.priority
      and w.run_at < clock_timestamp() - $1 * interval '1 millisecond'
    order by w.run_at limit $3 for update of w skip locked
  ) x
  where s.lane_id = x.lane_id and s."offset" = x."offset"
  returning s.queue_id
)
select q.queue_name, count(*)::int from aged a join millrace.job_queue q using (queue_id) group by 1
