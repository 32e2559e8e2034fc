-- Contracts of a model's versions: the serving one's first, then the newest.
-- Calls nothing; reads rescore.models and rescore.deployments.
SELECT m.contract
FROM rescore.models AS m
JOIN rescore.deployments AS d ON d.model = m.model
WHERE m.model = %s
ORDER BY m.version = d.champion DESC NULLS LAST, m.version DESC
LIMIT 2
