-- Waits until nobody publishes, and lets nobody until the transaction ends. Calls nothing; reads no table.
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('rescore.publish', 0))
