-- What a pool's backends hold. Calls: nothing. Tables: reads the catalogue.

-- name: backends
SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
   AND application_name NOT LIKE 'rescore%'

-- name: left
SELECT 'setting ' || n FROM unnest('{rescore.writing,rescore.recounted,rescore.recomputed}'::text[]) AS n
WHERE nullif(current_setting(n, true), '') IS NOT NULL
UNION ALL SELECT 'advisory lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
UNION ALL SELECT 'prepared statement ' || name FROM pg_prepared_statements
