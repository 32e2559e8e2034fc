-- The profile a model belongs to. Calls nothing; reads rescore.deployments.
SELECT d.profile FROM rescore.deployments AS d WHERE d.model = %s
