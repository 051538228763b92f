-- Brokers: events that travel outside carry the id of the log they stand in, so that two databases
-- behind one broker never take each other's offsets for their own.
-- Runs in one transaction as the connecting user.
set local role millrace_owner;

-- Row-level security is forced on the owner as well, and this one row is the owner's to write.
create policy owner_names_log on millrace.setting for insert to millrace_owner
  with check (name = 'log_id');
insert into millrace.setting (name, value) values ('log_id', to_json(gen_random_uuid()::text));
drop policy owner_names_log on millrace.setting;

-- Which log this is may be known to everybody; the other settings are the engine's.
create policy everyone_reads_log_id on millrace.setting for select to millrace_app
  using (name = 'log_id');
grant select on millrace.setting to millrace_app;
reset role;
