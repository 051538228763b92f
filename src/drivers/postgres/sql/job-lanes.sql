-- Lanes by what they are made of, new ones included. $1 queues, $2 tenants, $3 priorities, $4 keys.
select lane_id, queue_id, head from millrace.job_lanes($1, $2, $3, $4)
