-- Models whose versions take turns by rule; not those that are no longer defined.
-- Calls nothing; reads rescore.deployments, rescore.profiles.
SELECT d.model FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
WHERE d.spec -> 'traffic' <> 'null' AND p.definition -> 'models' ? d.model ORDER BY d.model
