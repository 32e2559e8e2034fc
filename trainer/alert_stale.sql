-- The share of rows whose score is marked stale or of too early a moment. Calls nothing; reads the profile table.
SELECT pg_catalog.avg((p.{at} IS NULL OR p.{at} < %(clock)s - %(older_than)s::pg_catalog.interval)::pg_catalog.int4)::pg_catalog.float8
FROM {relation} AS p WHERE p.{version} IS NOT NULL
