-- For whom a session has waited for two seconds; nothing where it does not wait. Calls rescore._session; reads pg_locks.
SELECT coalesce(rescore._session(b.pid), 'a prepared transaction')
FROM pg_catalog.pg_locks AS l CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) AS b (pid)
WHERE l.pid = %s AND NOT l.granted AND l.waitstart < pg_catalog.clock_timestamp() - interval '2 seconds' LIMIT 1
