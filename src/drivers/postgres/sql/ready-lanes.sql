-- Lanes in which jobs wait, most urgent first. $1 queue.
select r.lane_id from millrace.ready_lanes(
  (select q.queue_id from millrace.job_queue q where q.queue_name = $1)) r
