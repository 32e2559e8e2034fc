-- The models whose definition says that they learn on, and that serve; not those that are no longer defined.
-- Calls rescore._defines; reads rescore.deployments, rescore.profiles.
SELECT d.model FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
WHERE d.champion IS NOT NULL AND pg_catalog.jsonb_typeof(d.spec -> 'learn') = 'object' AND rescore._defines(p.definition, d.model)
ORDER BY d.model
