-- Lets the first of these keys go next. $1 group, $2 partition, $3 tenants, $4 keys.
select millrace.promote_parked($1, $2, $3, $4)
