-- $1 hash.
select hash, namespace, name, version, definition from millrace.workflow_template where hash = $1
