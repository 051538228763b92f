-- Whether an epoch's settlement of a completed job is stored. $1 lane, $2 offset, $3 epoch,
-- $4 claim.
select exists (
  select from millrace.job_ack a
  where a.lane_id = $1 and a.first_offset <= $2 and a.last_offset >= $2 and a.epoch = $3
) or exists (
  select from millrace.job_state s
  where s.lane_id = $1 and s."offset" = $2 and s.status = 'completed' and s.claim_no = $4
)
