-- What the trainer needs to know of a model that is defined, and of its profile.
-- Calls rescore._defines; reads rescore.deployments and rescore.profiles.
SELECT d.profile, p.slug, p.clock,
       pg_catalog.jsonb_path_query_array(d.inputs, '$[*] ? (!(exists(@.retired)))'), d.spec, d.champion, p.definition, p.plan
FROM rescore.deployments AS d
JOIN rescore.profiles AS p ON p.profile = d.profile
WHERE d.model = %s AND rescore._defines(p.definition, d.model)
