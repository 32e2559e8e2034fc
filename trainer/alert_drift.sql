-- Columns that have moved further than chance and the bound allow. Calls nothing; reads rescore.feature_drift.
SELECT d.model, d.feature, d.psi FROM rescore.feature_drift AS d
WHERE d.psi > %s::pg_catalog.float8 + coalesce(d.psi_by_chance, 0) ORDER BY 1, 2
