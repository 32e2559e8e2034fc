-- Models whose versions take turns by rule. Calls nothing; reads rescore.deployments.
SELECT d.model FROM rescore.deployments AS d WHERE d.spec -> 'traffic' <> 'null' ORDER BY d.model
