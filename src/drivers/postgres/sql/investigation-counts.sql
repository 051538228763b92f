-- How many investigations there are of each kind. $1 tenant or null.
select d.reason, d.status, count(*)::int, extract(epoch from min(d.entered_at))::float8 * 1000,
  coalesce(sum(extract(epoch from d.resolved_at - d.entered_at)::float8 * 1000), 0)
from millrace.workflow_dead_letter d
where $1::text is null or d.tenant_id = $1
group by 1, 2 order by 1, 2
