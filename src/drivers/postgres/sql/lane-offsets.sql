-- Everything of a key that waits or is dead. $1 group, $2 partition, $3 tenant, $4 key.
select "offset", status from millrace.event_failure
where group_name = $1 and "partition" = $2 and tenant_id = $3 and coalesce(key, '') = $4
  and status in ('retrying', 'parked', 'dead')
order by "offset"
