-- Forgets a group. $1 group. Row: whether there was one.
select millrace.remove_group($1)
