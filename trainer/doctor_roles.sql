-- Which group roles can be granted nothing, and why. Calls rescore._roles; reads the catalogue.
SELECT pg_catalog.string_agg(pg_catalog.concat(r.role, ' ', r.problem), ', ' ORDER BY r.level)
FROM rescore._roles() AS r WHERE r.problem IS NOT NULL
