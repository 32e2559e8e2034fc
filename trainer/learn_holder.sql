-- Who learns a model, which process of which machine that is, where it says so, and its server process; nothing when it has
-- just ended. Calls rescore._session, rescore._client; reads pg_locks.
SELECT rescore._session(l.pid) AS holder, rescore._client(l.pid) AS client, l.pid
FROM pg_catalog.pg_locks AS l
CROSS JOIN (SELECT pg_catalog.hashtextextended('rescore.learn ' || %s::text, 0) AS key) AS k
WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
  AND l.classid::bigint = (k.key >> 32) & 4294967295 AND l.objid::bigint = k.key & 4294967295
