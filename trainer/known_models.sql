-- The names of all models. Calls nothing; reads rescore.deployments.
SELECT d.model FROM rescore.deployments AS d ORDER BY d.model
