-- After an outage of the server all workers were silent, and the jobs of each counted a crash that was
-- none of theirs. Who recovers now says whether silence has another cause.
-- Runs in one transaction as the connecting user.
set local role millrace_owner;

-- Declares silent epochs dead, each by one caller only, and counts parents nobody has counted.
-- p_crashes_max null: their jobs count no crash.
create or replace function millrace.recover_jobs(p_crashes_max int)
returns table (epoch bigint, lane_id int, "offset" bigint, queue_name text, crashes int,
  quarantined boolean) language plpgsql as $$
#variable_conflict use_column
declare
  w record;
begin
  perform millrace.count_parents(1000);
  for w in
    select k.epoch from millrace.job_worker k
    where k.heartbeat_at < clock_timestamp() - k.time_to_live_ms * interval '1 millisecond'
    order by 1
  loop
    -- Not while a settlement of it is under way: that one still counts.
    continue when not pg_try_advisory_xact_lock(7313, (w.epoch % 2147483647)::int);
    if exists (select 1 from millrace.job_worker k where k.epoch = w.epoch
        and k.heartbeat_at < clock_timestamp() - k.time_to_live_ms * interval '1 millisecond') then
      return query select w.epoch, null::int, null::bigint, null::text, null::int, null::boolean;
      return query
        select w.epoch, r.lane_id, r."offset", q.queue_name, r.crashes, r.quarantined
        from millrace.release_epoch(w.epoch, p_crashes_max is not null, p_crashes_max) r
        join millrace.job_queue q on q.queue_id = r.queue_id;
    end if;
  end loop;
end $$;

reset role;
