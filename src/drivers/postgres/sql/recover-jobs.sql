-- Takes over from silent epochs. $1 crashes after which a job is quarantined, null: none counts. The first row of each
-- epoch has no job.
select epoch, lane_id, "offset", queue_name, crashes, quarantined from millrace.recover_jobs($1)
