-- One row per deployed model; none for one that is no longer defined and never served.
-- Calls rescore._defines; reads rescore.deployments, rescore.profiles, rescore.deployment_history, rescore.incident_log, rescore.learn_log, rescore.feature_drift,
-- rescore.quarantined and rescore.queue_lag.
SELECT d.model, d.profile, d.champion, d.challenger, d.challenger_share, d.shadows, d.engine, d.score_columns, p.clock,
       (SELECT pg_catalog.concat_ws(' ', g.action, g.version, pg_catalog.to_char(g.at, 'YYYY-MM-DD HH24:MI')) FROM rescore.learn_log AS g
        WHERE g.model = d.model ORDER BY g.id DESC LIMIT 1) AS learnt,
       f.moved, f.columns_moved,
       (SELECT coalesce(pg_catalog.sum(q.snapshots), 0)::pg_catalog.int8 FROM rescore.quarantined AS q WHERE q.model = d.model) AS quarantined,
       p.backfill_from IS NOT NULL AS backfilling, NOT rescore._defines(p.definition, d.model) AS removed,
       (SELECT l.paused_at FROM rescore.queue_lag AS l WHERE l.profile = d.profile) AS paused,
       (SELECT pg_catalog.max(h.at) FROM rescore.deployment_history AS h
        WHERE h.model = d.model AND h.action IN ('publish', 'promote', 'rollback')) AS since,
       (SELECT pg_catalog.count(*) FROM rescore.incident_log AS i
        WHERE i.resolved_at IS NULL AND (i.model = d.model OR i.profile = d.profile)) AS incidents
FROM rescore.deployments AS d
JOIN rescore.profiles AS p ON p.profile = d.profile
CROSS JOIN LATERAL (
    SELECT pg_catalog.string_agg(f.feature, ', ' ORDER BY f.feature), pg_catalog.count(*) FROM rescore.feature_drift AS f
    WHERE f.model = d.model AND (f.psi - f.psi_by_chance > 0.25 OR f.changed_at IS NOT NULL)) AS f (moved, columns_moved)
WHERE d.champion IS NOT NULL OR rescore._defines(p.definition, d.model)
ORDER BY d.model
