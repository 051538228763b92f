-- Settle, enqueue and claim in one commit; migrations/0002_jobs.sql explains the 23 parameters. The
-- first row of the answer has what happened as json in its payload.
select lane_id, "offset", name, version, payload, options, enqueued_ms, failures, crashes, job_key,
  priority
from millrace.exchange_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
  $17, $18, $19, $20, $21, $22, $23)
