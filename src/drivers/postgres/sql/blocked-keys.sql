-- Keys that wait for a retry or behind a dead letter. $1 group, $2 partition.
select distinct tenant_id, coalesce(key, '') from millrace.event_failure
where group_name = $1 and "partition" = $2 and status in ('retrying', 'parked', 'dead')
