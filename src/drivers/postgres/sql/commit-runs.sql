-- Adds links to histories. $1 epoch, $2-$5 run, seq, state and change of each, $6-$9 run, state,
-- result and error of those that end, $10 rests as json, $11 what else goes along as json, $12
-- whether to answer with the transaction's number. Row: number, queues woken, runs that do not
-- rest, runs that got messages and may be held.
select number, woken, unread, told
from millrace.commit_runs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
