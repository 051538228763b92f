-- Ends letters for good. $1 group, $2 partition, $3 offsets, $4 skipped or discarded.
-- A discarded parked event becomes a letter of its own, so that nothing disappears unseen.
update millrace.event_failure set status = $4, next_attempt_at = null, was_dead = true,
  failed_at = coalesce(failed_at, date_trunc('milliseconds', clock_timestamp())),
  reason = coalesce(reason, 'discarded with the failed event before it'),
  fingerprint = coalesce(fingerprint, 'discarded')
where group_name = $1 and "partition" = $2 and "offset" = any ($3)
  and status in ('dead', 'parked', 'retrying')
