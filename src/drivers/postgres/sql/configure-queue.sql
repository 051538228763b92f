-- Makes a queue known and changes what is given: $1 name; $2 whether limits follow in $3-$5; $6
-- whether limits of keys follow in $7-$9; $10 paused or null; $11 whether a length follows in $12.
-- Row: the queue's id, whether its rate is what it was, whether that of its keys is.
with before as (select * from millrace.job_queue where queue_name = $1)
insert into millrace.job_queue as q (queue_name, concurrency_max, rate_max, rate_per_ms,
  key_concurrency_max, key_rate_max, key_rate_per_ms, paused_at, length_max)
values ($1, $3::int, $4::int, $5::bigint, $7::int, $8::int, $9::bigint,
  case when $10::boolean then clock_timestamp() end, $12::int)
on conflict (queue_name) do update set
  concurrency_max = case when $2 then excluded.concurrency_max else q.concurrency_max end,
  rate_max = case when $2 then excluded.rate_max else q.rate_max end,
  rate_per_ms = case when $2 then excluded.rate_per_ms else q.rate_per_ms end,
  key_concurrency_max = case when $6 then excluded.key_concurrency_max
    else q.key_concurrency_max end,
  key_rate_max = case when $6 then excluded.key_rate_max else q.key_rate_max end,
  key_rate_per_ms = case when $6 then excluded.key_rate_per_ms else q.key_rate_per_ms end,
  paused_at = case when $10::boolean then coalesce(q.paused_at, clock_timestamp())
    when $10::boolean is null then q.paused_at end,
  length_max = case when $11 then excluded.length_max else q.length_max end
returning queue_id,
  exists (select 1 from before b where b.rate_max is not distinct from q.rate_max
    and b.rate_per_ms is not distinct from q.rate_per_ms),
  exists (select 1 from before b where b.key_rate_max is not distinct from q.key_rate_max
    and b.key_rate_per_ms is not distinct from q.key_rate_per_ms)
