-- Whether this session is now the runner of the database. Calls nothing; reads no table.
SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('rescore.run', 0))
