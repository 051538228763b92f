-- Counts parents of jobs that were enqueued and not counted yet, a bounded number.
select millrace.count_parents(1000)
