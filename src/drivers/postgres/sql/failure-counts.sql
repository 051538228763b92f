-- Failures by group and status. $1 tenant.
select group_name, case status when 'dead' then 'pending' else status end, count(*)::int
from millrace.event_failure where tenant_id = $1
group by 1, 2 order by 1, 2
