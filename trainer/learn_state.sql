-- Where the learning of a model stands, while it is defined.
-- Calls rescore._defines; reads rescore.deployments, rescore.profiles and rescore.learning.
SELECT d.profile, p.clock, d.spec, d.champion, coalesce(l.watermark_xid::text, '0')::pg_catalog.int8, coalesce(l.watermark_id, 0),
       l.line, l.champion, coalesce(l.memory, '{{}}'),
       coalesce((p.plan #> ARRAY['labels', d.spec ->> 'label', 'number'])::boolean, false), p.definition -> 'interventions', l.xmin::text
FROM rescore.deployments AS d
JOIN rescore.profiles AS p ON p.profile = d.profile
LEFT JOIN rescore.learning AS l ON l.model = d.model
WHERE d.model = %s AND rescore._defines(p.definition, d.model)
