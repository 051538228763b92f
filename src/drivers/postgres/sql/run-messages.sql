-- Messages of a run beyond a number. $1 run, $2 number.
select m.no, m.message_id, m.kind, m.name, m.payload,
  (extract(epoch from m.sent_at) * 1000)::float8
from millrace.workflow_message m where m.run_id = $1 and m.no > $2 order by m.no
