-- What crashes need to know. Calls: pg_cancel_backend. Tables: reads pg_stat_activity.

-- name: writers
-- Processes at work in a database of the torture.
SELECT pid FROM pg_stat_activity
WHERE datname LIKE 'torture\_%' AND backend_type = 'client backend' AND pid <> pg_backend_pid()

-- name: cancel
-- Cancel what a random session is doing.
SELECT pg_cancel_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state = 'active'
ORDER BY random() LIMIT 1
