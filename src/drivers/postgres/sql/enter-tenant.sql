-- From here to the end of the transaction: the application role, one tenant's rows. $1 tenant.
select set_config('role', 'millrace_app', true), set_config('millrace.tenant', $1, true)
