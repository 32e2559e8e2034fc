-- Columns that have moved further than chance and the bound allow; with `changed`, also those of which the streaming
-- detector has seen a change. Of models that are defined.
-- Calls rescore._defines; reads rescore.feature_drift, rescore.deployments, rescore.profiles.
SELECT d.model, d.feature, d.psi, d.psi > %(psi)s::pg_catalog.float8 + coalesce(d.psi_by_chance, 0) IS TRUE AS has_moved, d.changed_at
FROM rescore.feature_drift AS d JOIN rescore.deployments AS s ON s.model = d.model JOIN rescore.profiles AS p ON p.profile = s.profile
WHERE (d.psi > %(psi)s::pg_catalog.float8 + coalesce(d.psi_by_chance, 0) OR (%(changed)s AND d.changed_at IS NOT NULL))
  AND rescore._defines(p.definition, s.model) ORDER BY 1, 2
