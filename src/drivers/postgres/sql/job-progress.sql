-- The newest progress of running jobs. $1 lanes, $2 offsets, $3 progress.
insert into millrace.job_progress as p (lane_id, "offset", progress)
select * from unnest($1::int[], $2::bigint[], $3::json[])
on conflict (lane_id, "offset") do update set progress = excluded.progress,
  updated_at = clock_timestamp()
