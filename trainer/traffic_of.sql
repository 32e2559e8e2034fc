-- Who serves a model, who stands beside, by which rules, and when a rule last acted, by the profile's clock.
-- Calls rescore._clock_of; reads rescore.deployments, rescore.profiles, rescore.deployment_history.
SELECT d.champion, d.challenger, d.shadows, d.predecessor, d.spec, rescore._clock_of(d.model),
       (SELECT pg_catalog.max((h.details ->> 'clock')::pg_catalog.timestamptz) FROM rescore.deployment_history AS h
        WHERE h.model = d.model AND h.details ->> 'rule' <> 'challenge'),
       coalesce((p.plan #> ARRAY['labels', d.spec ->> 'label', 'number'])::boolean, false),
       coalesce(pg_catalog.jsonb_typeof(p.definition -> 'interventions') = 'object', false)
FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile WHERE d.model = %s
