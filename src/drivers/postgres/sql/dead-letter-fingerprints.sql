-- Pending dead letters by kind of failure, most frequent first. $1 tenant.
select f.fingerprint, f.group_name, f.event_type, count(*)::int,
  (array_agg(f.reason order by f.failed_at desc))[1],
  (array_agg(f.event_id order by f.failed_at desc))[1]
from millrace.event_failure f
where f.tenant_id = $1 and f.status = 'dead'
group by 1, 2, 3
order by 4 desc, 1
limit 1000
