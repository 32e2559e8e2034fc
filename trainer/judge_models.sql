-- Models whose scores are logged and whose outcomes are looked for, with what their definition says.
-- Calls nothing; reads rescore.deployments.
SELECT d.model, d.spec FROM rescore.deployments AS d WHERE d.champion IS NOT NULL AND d.spec ->> 'label' IS NOT NULL ORDER BY d.model
