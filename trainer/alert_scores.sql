-- Every score with its profile table and what time it is there. Calls rescore._clock_of; reads
-- rescore.deployments, rescore.profiles.
SELECT DISTINCT p.profile, p.table_schema, p.table_name, c.name, rescore._clock_of(pg_catalog.min(d.model) OVER (PARTITION BY p.profile))
FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
CROSS JOIN LATERAL pg_catalog.unnest(d.score_columns) AS c (name) ORDER BY 1, 4
