-- All versions, newest first. Calls nothing; reads rescore.models, rescore.deployments and rescore.model_version.
SELECT m.model, m.version, COALESCE(d.champion = m.version, false) AS serves, m.engine, m.format,
       (m.metrics->>'auc')::float8 AS auc, (m.metrics->>'log_loss')::float8 AS log_loss,
       (m.metrics->>'r2')::float8 AS r2, (m.metrics->>'rmse')::float8 AS rmse,
       m.parent, m.created_at, m.created_by, v.role, v.share
FROM rescore.models AS m
LEFT JOIN rescore.model_version AS v ON v.model = m.model AND v.version = m.version
LEFT JOIN rescore.deployments AS d ON d.model = m.model
ORDER BY m.model, m.version DESC
