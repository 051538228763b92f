-- $1 the templates as json.
insert into millrace.workflow_template (hash, namespace, name, version, definition)
select t.hash, t.namespace, t.name, t.version, t."definitionJson"::json
from json_to_recordset($1) as t(hash text, namespace text, name text, version text,
  "definitionJson" text)
order by t.hash on conflict do nothing
