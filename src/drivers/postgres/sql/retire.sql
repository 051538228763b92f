-- Forgets a worker. $1 worker id.
delete from millrace.worker where worker_id = $1
