-- What lanes are made of. $1 lane ids.
select l.lane_id, l.queue_id, q.queue_name, l.tenant_id, l.priority, l.lane_key
from millrace.job_lane l join millrace.job_queue q on q.queue_id = l.queue_id
where l.lane_id = any ($1)
