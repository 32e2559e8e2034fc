-- The models there are, each with its profile and whether that still defines it.
-- Calls rescore._defines; reads rescore.deployments, rescore.profiles.
SELECT d.model, d.profile, rescore._defines(p.definition, d.model)
FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile ORDER BY d.model
