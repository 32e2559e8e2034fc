-- The estimators of a profile's models, as they were last applied. Calls nothing; reads rescore.deployments.
SELECT d.model, d.spec -> 'estimator' FROM rescore.deployments AS d WHERE d.profile = %s
