-- Every score of a model that is defined, with its profile table and what time it is there. Calls rescore._clock_of,
-- rescore._defines; reads rescore.deployments, rescore.profiles.
SELECT DISTINCT p.profile, p.table_schema, p.table_name, c.name, rescore._clock_of(pg_catalog.min(d.model) OVER (PARTITION BY p.profile))
FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
CROSS JOIN LATERAL pg_catalog.unnest(d.score_columns) AS c (name)
WHERE rescore._defines(p.definition, d.model) ORDER BY 1, 4
