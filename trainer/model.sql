-- What the trainer needs to know of a model and its profile.
-- Calls nothing; reads rescore.deployments and rescore.profiles.
SELECT d.profile, p.slug, p.clock, d.inputs, d.spec, d.champion, p.definition, p.plan
FROM rescore.deployments AS d
JOIN rescore.profiles AS p ON p.profile = d.profile
WHERE d.model = %s
