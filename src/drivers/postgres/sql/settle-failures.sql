-- Failures and resolved retries. $1 group, $2 partition, $3 failures json, $4 resolved offsets.
select tenant_id, key, blocked from millrace.settle_failures($1, $2, $3, $4)
