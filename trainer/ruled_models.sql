-- Models whose versions take turns by rule; not those that are no longer defined.
-- Calls rescore._defines; reads rescore.deployments, rescore.profiles.
SELECT d.model FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
WHERE d.spec -> 'traffic' <> 'null' AND rescore._defines(p.definition, d.model) ORDER BY d.model
