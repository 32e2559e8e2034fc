-- The version that serves. Reads rescore.deployments.
SELECT champion FROM rescore.deployments WHERE model = 'churn'
