-- Takes a partition with the next epoch. $1 group, $2 partition, $3 epoch, $4 worker id.
-- No row when another worker has that epoch.
insert into millrace.lease (group_name, "partition", epoch, worker_id)
values ($1, $2, $3, $4)
on conflict do nothing
returning epoch
