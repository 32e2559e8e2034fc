-- What sessions of killed commands do. Calls: pg_terminate_backend. Tables: reads pg_stat_activity,
-- pg_class.

-- name: at_work
-- Whether one is at work on a statement like this.
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle' AND query LIKE %s
  AND (application_name LIKE 'torture killed%%' OR application_name LIKE 'rescore run%%')

-- name: left
-- How many there are.
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND (application_name LIKE 'torture killed%' OR application_name LIKE 'rescore run%')

-- name: end
-- End the backend of a session that is at work.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = %s AND state = 'active'

-- name: installed
-- Objects in rescore's schemas.
SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname LIKE 'rescore%'
