-- Names of queues. $1 their ids.
select queue_id, queue_name from millrace.job_queue where queue_id = any ($1)
