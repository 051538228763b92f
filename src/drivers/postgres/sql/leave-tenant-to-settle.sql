-- Back to the worker's role for the settlement. From here on the transaction holds locks that others
-- wait for: a process that is frozen before its commit must not keep them for long.
select set_config('role', 'millrace_worker', true), set_config('millrace.tenant', '', true),
  set_config('idle_in_transaction_session_timeout', '5000', true)
