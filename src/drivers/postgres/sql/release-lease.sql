-- Hands a partition back: the next epoch without a worker. $1 group, $2 partition, $3 next epoch.
insert into millrace.lease (group_name, "partition", epoch) values ($1, $2, $3)
on conflict do nothing
