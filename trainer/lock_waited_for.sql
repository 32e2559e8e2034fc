-- Whether a session has waited for a lock for half a second. Calls nothing; reads pg_locks.
SELECT EXISTS (SELECT FROM pg_catalog.pg_locks AS l
               WHERE l.pid = %s AND NOT l.granted AND l.waitstart < pg_catalog.clock_timestamp() - interval '0.5 seconds')
