-- Lets others learn the model. Calls nothing; reads no table.
SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended('rescore.learn ' || %s::text, 0))
