-- The models whose definition says that they learn on, and that serve. Reads rescore.deployments.
SELECT d.model FROM rescore.deployments AS d
WHERE d.champion IS NOT NULL AND pg_catalog.jsonb_typeof(d.spec -> 'learn') = 'object' ORDER BY d.model
