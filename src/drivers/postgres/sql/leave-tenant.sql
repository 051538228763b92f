-- Back to the worker's role, and no tenant.
select set_config('role', 'millrace_worker', true), set_config('millrace.tenant', '', true)
