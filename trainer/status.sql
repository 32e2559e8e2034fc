-- One row per deployed model. Calls nothing; reads rescore.deployments, rescore.profiles,
-- rescore.deployment_history and rescore.incident_log.
SELECT d.model, d.profile, d.champion, d.challenger, d.challenger_share, d.shadows, d.engine, d.score_columns, p.clock,
       p.backfill_from IS NOT NULL AS backfilling,
       (SELECT pg_catalog.max(h.at) FROM rescore.deployment_history AS h
        WHERE h.model = d.model AND h.action IN ('publish', 'promote', 'rollback')) AS since,
       (SELECT pg_catalog.count(*) FROM rescore.incident_log AS i
        WHERE i.resolved_at IS NULL AND (i.model = d.model OR i.profile = d.profile)) AS incidents
FROM rescore.deployments AS d
JOIN rescore.profiles AS p ON p.profile = d.profile
ORDER BY d.model
