-- Models that tell whether something happens, whose scores are logged, with what their definition says.
-- Calls nothing; reads rescore.deployments, rescore.profiles.
SELECT d.model, d.spec
FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
WHERE d.champion IS NOT NULL AND d.spec ->> 'label' IS NOT NULL
  AND (p.plan #> ARRAY['labels', d.spec ->> 'label', 'number'])::boolean IS NOT TRUE
ORDER BY d.model
