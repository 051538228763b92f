-- What of a lane may go, asked again under the lane's lock. $1 lane, $2 retention in ms, $3 jobs to
-- look at. Row: first, last, the newest one if it may be emptied.
select p.first_offset, p.last_offset, p.head_offset
from millrace.prunable_jobs($1, clock_timestamp() - $2::float8 * interval '1 millisecond', $3) p
