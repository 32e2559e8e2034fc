-- What `rescore status` shows: no artefacts, no definitions, nothing of a single customer, so that every reader may see it.
-- Calls: rescore._defines of 035_deployment. Tables: reads rescore.deployments, rescore.profiles, rescore.deployment_history,
-- rescore.incident_log, rescore.learn_log, rescore.feature_drift, rescore.quarantined and rescore.queue_lag.

CREATE OR REPLACE VIEW rescore.model_status AS
SELECT d.model, d.profile, d.champion, d.challenger, d.challenger_share, d.shadows, d.engine, d.score_columns, p.clock,
       (SELECT pg_catalog.concat_ws(' ', g.action, g.version, pg_catalog.to_char(g.at, 'YYYY-MM-DD HH24:MI'))
               || CASE WHEN g.action IN ('refused', 'quarantined') THEN coalesce(': ' || (g.reasons ->> 0), '') ELSE '' END
        FROM rescore.learn_log AS g WHERE g.id = r.decided) AS learnt,
       (SELECT pg_catalog.format('%s %s: %s', g.action, pg_catalog.to_char(g.at, 'YYYY-MM-DD HH24:MI'), g.reasons ->> 0)
        FROM rescore.learn_log AS g WHERE g.id = r.last AND r.last IS DISTINCT FROM r.decided) AS idle,
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
CROSS JOIN LATERAL (
    SELECT pg_catalog.max(g.id), pg_catalog.max(g.id) FILTER (WHERE g.action NOT IN ('nothing', 'waiting'))
    FROM rescore.learn_log AS g WHERE g.model = d.model) AS r (last, decided)
WHERE d.champion IS NOT NULL OR rescore._defines(p.definition, d.model);
COMMENT ON VIEW rescore.model_status IS 'What serves, since when, and what is amiss: one row per deployed model; none for one that is no longer defined and never served.';
COMMENT ON COLUMN rescore.model_status.model IS 'Name of the model';
COMMENT ON COLUMN rescore.model_status.profile IS 'Profile whose rows it scores';
COMMENT ON COLUMN rescore.model_status.champion IS 'Version that serves; null: none';
COMMENT ON COLUMN rescore.model_status.challenger IS 'Version that serves a share of the customers';
COMMENT ON COLUMN rescore.model_status.challenger_share IS 'That share';
COMMENT ON COLUMN rescore.model_status.shadows IS 'Versions that score in snapshots only';
COMMENT ON COLUMN rescore.model_status.engine IS 'auto, or python where the definition asks for it';
COMMENT ON COLUMN rescore.model_status.score_columns IS 'Columns of the profile that it writes';
COMMENT ON COLUMN rescore.model_status.clock IS 'Clock of the profile: now, or session';
COMMENT ON COLUMN rescore.model_status.learnt IS 'The last round that learnt or decided something: what came of it, the version it made, when, and why it let none serve';
COMMENT ON COLUMN rescore.model_status.idle IS 'What has come to nothing since then, when and why: a round that waits for more, or a request that was answered without one';
COMMENT ON COLUMN rescore.model_status.moved IS 'Columns that have moved: see rescore.feature_drift';
COMMENT ON COLUMN rescore.model_status.columns_moved IS 'How many they are';
COMMENT ON COLUMN rescore.model_status.quarantined IS 'Snapshots kept out of learning';
COMMENT ON COLUMN rescore.model_status.backfilling IS 'Whether a backfill of the profile has not ended';
COMMENT ON COLUMN rescore.model_status.removed IS 'Whether the definition has the model no longer';
COMMENT ON COLUMN rescore.model_status.paused IS 'Since when the profile is paused; null while it is not';
COMMENT ON COLUMN rescore.model_status.since IS 'When a version was last let serve';
COMMENT ON COLUMN rescore.model_status.incidents IS 'Open causes of failures, of the model or its profile';
