-- Whether this session is now the only one that learns the model. Calls nothing; reads no table.
SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('rescore.learn ' || %s::text, 0))
