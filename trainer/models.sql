-- All versions, newest first. Calls nothing; reads the view rescore.model_version, as every reader may.
SELECT v.model, v.version, coalesce(v.serving, false) AS serves, v.engine, v.format,
       (v.metrics ->> 'auc')::pg_catalog.float8 AS auc, (v.metrics ->> 'log_loss')::pg_catalog.float8 AS log_loss,
       (v.metrics ->> 'r2')::pg_catalog.float8 AS r2, (v.metrics ->> 'rmse')::pg_catalog.float8 AS rmse,
       v.parent, v.created_at, v.created_by, v.role, v.share
FROM rescore.model_version AS v
ORDER BY v.model, v.version DESC
