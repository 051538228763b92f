-- $1 epoch.
insert into millrace.workflow_holder (epoch) values ($1) on conflict do nothing
