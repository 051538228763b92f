-- Before a settlement: the worker's role, no tenant, and a short patience. The locks of a settlement
-- must not outlive a worker that freezes, or is cut off, between its last statement and the commit.
select set_config('role', 'millrace_worker', true), set_config('millrace.tenant', '', true),
  set_config('idle_in_transaction_session_timeout', '10s', true)
