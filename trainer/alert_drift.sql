-- Columns that have moved further than chance and the bound allow; with `changed`, also those of which the streaming
-- detector has seen a change. Calls nothing; reads rescore.feature_drift.
SELECT d.model, d.feature, d.psi, d.psi > %(psi)s::pg_catalog.float8 + coalesce(d.psi_by_chance, 0) IS TRUE AS has_moved, d.changed_at
FROM rescore.feature_drift AS d
WHERE d.psi > %(psi)s::pg_catalog.float8 + coalesce(d.psi_by_chance, 0) OR (%(changed)s AND d.changed_at IS NOT NULL) ORDER BY 1, 2
