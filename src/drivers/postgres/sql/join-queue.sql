-- A worker works on one more queue than it said when it registered. $1 epoch, $2 queue.
update millrace.job_worker set queues = array_append(queues, $2)
where epoch = $1 and not $2 = any (queues)
