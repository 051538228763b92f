-- One run as it is stored. $1 run, $2 its history behind that link only. One snapshot for all of
-- it. The messages are those beyond the last number that the history has read ("m" of a change).
select r.run_id, r.tenant_id, r.namespace, r.name, r.version, r.template_hash, r.identity, r.run_key,
  r.priority, r.correlation_id, r.traceparent, r.parent_run, r.parent_step, r.input, r.metadata,
  r.queue, r.job_name, (extract(epoch from r.started_at) * 1000)::float8 as started_at,
  (select json_agg(h.change order by h.seq) from millrace.workflow_history h
   where h.run_id = r.run_id and h.seq > $2) as changes,
  (select json_agg(json_build_array(m.no, m.message_id, m.kind, m.name, m.payload::text,
      (extract(epoch from m.sent_at) * 1000)::float8) order by m.no)
   from millrace.workflow_message m
   where m.run_id = r.run_id and m.no > coalesce((
     select (h.change::json ->> 'm')::int from millrace.workflow_history h
     where h.run_id = r.run_id and position('"m":' in h.change) > 0
       and h.change::json ->> 'm' is not null
     order by h.seq desc limit 1), 0)) as messages,
  e.state as end_state, e.result as end_result, e.error as end_error,
  (extract(epoch from e.ended_at) * 1000)::float8 as ended_at,
  s.state as rest_state, (extract(epoch from s.wake_at) * 1000)::float8 as wake_at
from millrace.workflow_run r
left join millrace.workflow_end e on e.run_id = r.run_id
left join millrace.workflow_rest s on s.run_id = r.run_id
where r.run_id = $1
