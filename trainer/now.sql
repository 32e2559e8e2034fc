-- The present of all other profiles.
-- Calls nothing; reads no table.
SELECT pg_catalog.now()
