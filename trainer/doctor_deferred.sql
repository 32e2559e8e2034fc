-- Deferred triggers on profile tables, which before PostgreSQL 18 run as whoever commits.
-- Calls rescore._deferred, rescore._watched; reads the catalogue.
SELECT pg_catalog.string_agg(DISTINCT found.name, ', ' ORDER BY found.name)
FROM rescore._watched() AS w CROSS JOIN LATERAL rescore._deferred(w.tables) AS found
