-- Inserts or replaces a schedule. last_at never goes back: who saves may have read before a firing.
-- $1 tenant, $2 name, $3 rule, $4 job, $5 paused, $6 next tick, $7 last tick. Row: the schedule.
insert into millrace.job_schedule as s (tenant_id, name, rule, job, paused, next_at, last_at)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (tenant_id, name) do update
set rule = excluded.rule, job = excluded.job, paused = excluded.paused, next_at = excluded.next_at,
  last_at = greatest(s.last_at, excluded.last_at), revision = excluded.revision
returning name, tenant_id, rule, job, paused, next_at, last_at, revision
