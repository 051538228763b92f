-- Enqueues the jobs of ticks and moves a schedule on; false when the revision is not the newest.
-- $1 tenant, $2 name, $3 revision, $4 ticks, $5 their jobs as json, $6 next tick, $7 last tick.
select millrace.fire_schedule($1, $2, $3, $4, $5, $6, $7)
