-- For those who look at queues and clean them up: exceptional jobs that are blocked or came to an
-- end, by queue, status and time; no entry for plain jobs. It answers pages of dead jobs newest
-- first, the counts, and which rows are older than the retention, each without the other rows.
set local role millrace_owner;
create index job_state_over on millrace.job_state (queue_id, status, finished_at)
  where status in ('blocked', 'completed', 'dead', 'cancelled', 'quarantined');

-- How far the jobs of a lane, from its first on, have all been at an end since before p_before; at
-- most p_most are looked at. last_offset is less than first_offset when there is none. Nothing beyond
-- the last claim is among them, and nothing of a claim that is open: whoever takes it from a dead
-- worker believes what has neither acknowledgement nor row to be unfinished. The lane's newest row is
-- never among them, or offsets would begin anew: head_offset names it when it is old as well and
-- still has its payload.
create function millrace.prunable_jobs(
  p_lane int, p_before timestamptz, p_most bigint,
  out first_offset bigint, out last_offset bigint, out head_offset bigint
) language plpgsql stable as $$
declare
  v_head bigint;
  v_name text;
  v_until bigint;
  v_claim bigint;
  v_acked int8multirange;
  v_rows int8multirange;
  v_over int8multirange;
begin
  select j."offset" into first_offset from millrace.job j
    where j.lane_id = p_lane order by j."offset" limit 1;
  select j."offset", j.name into v_head, v_name from millrace.job j
    where j.lane_id = p_lane order by j."offset" desc limit 1;
  if first_offset is null or first_offset = v_head and v_name = '' then
    return;
  end if;
  v_until := least(first_offset + p_most - 1, v_head);
  select c.to_offset into v_claim from millrace.job_claim c
    where c.lane_id = p_lane and c.to_offset >= v_until order by c.to_offset limit 1;
  if not found then
    select c.to_offset into v_until from millrace.job_claim c
      where c.lane_id = p_lane order by c.to_offset desc limit 1;
    v_claim := v_until;
  end if;
  select least(v_until, min(c.from_offset) - 1) into v_until
    from millrace.job_claim c
    join millrace.job_worker w on w.epoch = c.epoch and w.oldest_claim_no <= c.claim_no
    where c.lane_id = p_lane and c.to_offset between prunable_jobs.first_offset and v_claim;
  if v_until is null or v_until < first_offset then
    return;
  end if;
  select range_agg(int8range(a.first_offset, a.last_offset, '[]')) into v_acked
    from millrace.job_ack a
    where a.lane_id = p_lane and a.first_offset <= v_until and a.settled_at < p_before
      -- The last one that begins before the first job may reach beyond it.
      and a.first_offset >= coalesce((select k.first_offset from millrace.job_ack k
        where k.lane_id = p_lane and k.first_offset <= prunable_jobs.first_offset
        order by k.first_offset desc limit 1), 0);
  select range_agg(int8range(s."offset", s."offset", '[]')),
    range_agg(int8range(s."offset", s."offset", '[]')) filter (
      where s.status in ('completed', 'dead', 'cancelled', 'quarantined') and s.epoch is null
        and s.finished_at < p_before and not exists (
          select 1 from millrace.job_dependency d where d.parent_lane = s.lane_id
            and d.parent_offset = s."offset" and not d.finished))
    into v_rows, v_over from millrace.job_state s
    where s.lane_id = p_lane and s."offset" between prunable_jobs.first_offset and v_until;
  v_acked := coalesce(v_acked, '{}') - coalesce(v_rows, '{}') + coalesce(v_over, '{}');
  last_offset := coalesce(
    lower(int8multirange(int8range(first_offset, v_until, '[]')) - v_acked) - 1, v_until);
  if last_offset = v_head then
    last_offset := v_head - 1;
    head_offset := case when v_name <> '' then v_head end;
  end if;
end $$;
revoke execute on function millrace.prunable_jobs from public;
grant execute on function millrace.prunable_jobs to millrace_worker;
reset role;
