-- Which of these links are there. $1 runs, $2 seqs, $3 epoch, $4 changes. Row: place from 1 on,
-- whether it is this very one, whether the run came to rest with it.
select x.n, h.epoch = $3 and h.change = x.change, h.rested
from unnest($1::uuid[], $2::int[], $4::text[]) with ordinality as x(run_id, seq, change, n)
cross join lateral (
  select k.epoch, k.change, k.rested from millrace.workflow_history k
  where k.run_id = x.run_id and k.seq = x.seq limit 1
) h
