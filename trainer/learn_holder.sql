-- Who learns a model; nothing when it has just ended. Reads pg_locks, pg_stat_activity.
SELECT pg_catalog.format('process %%s, %%s as %%s from %%s since %%s', a.pid, coalesce(nullif(a.application_name, ''), 'a session'),
                         a.usename, coalesce(a.client_addr::text, 'this machine'), coalesce(a.backend_start::text, 'some time'))
FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
CROSS JOIN (SELECT pg_catalog.hashtextextended('rescore.learn ' || %s::text, 0) AS key) AS k
WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
  AND l.classid::bigint = (k.key >> 32) & 4294967295 AND l.objid::bigint = k.key & 4294967295
