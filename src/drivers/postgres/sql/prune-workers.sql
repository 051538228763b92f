-- Removes workers that have been silent for an hour.
delete from millrace.worker where heartbeat_at < clock_timestamp() - interval '1 hour'
