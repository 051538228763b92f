-- Sends letters back to be handled. $1 group, $2 partition, $3 offsets, $4 edited payload or null.
-- Only the first of a key runs at once; the others park behind it again.
update millrace.event_failure set status = 'parked', attempts = 0,
  edited_payload = coalesce($4, edited_payload)
where group_name = $1 and "partition" = $2 and "offset" = any ($3) and status = 'dead'
