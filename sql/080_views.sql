-- What dashboards and BI tools read of rescore itself.
-- Calls: 012_session, rescore._defines of 035_deployment, 078_coming, 078_runner, 079_starved, 079_tables, 079_upkeep. Tables: reads rescore.models, rescore.deployments, rescore.profiles,
-- rescore.incident_log, rescore.lineage, rescore.outbox_lag, rescore.queue_lag, rescore.runner_jobs.

CREATE OR REPLACE VIEW rescore.model_version AS
SELECT m.model, m.version, m.version = d.champion AS serving, m.engine, m.format, m.sha256, m.parent,
       m.created_at, m.created_by, m.metrics, m.library_versions,
       pg_catalog.jsonb_array_length(m.contract -> 'inputs') AS inputs, pg_catalog.octet_length(m.artifact) AS bytes,
       m.signed_by, m.signature,
       CASE m.version WHEN d.champion THEN 'champion' WHEN d.challenger THEN 'challenger'
            ELSE CASE WHEN m.version = ANY (d.shadows) THEN 'shadow' WHEN m.version = d.predecessor THEN 'predecessor' END END AS role,
       CASE m.version WHEN d.champion THEN 1 - coalesce(d.challenger_share, 0) WHEN d.challenger THEN d.challenger_share ELSE 0 END AS share
FROM rescore.models AS m JOIN rescore.deployments AS d ON d.model = m.model;
COMMENT ON VIEW rescore.model_version IS 'Every model version, and which one serves.';
COMMENT ON COLUMN rescore.model_version.model IS 'Name of the model';
COMMENT ON COLUMN rescore.model_version.version IS 'Number of the version';
COMMENT ON COLUMN rescore.model_version.serving IS 'Whether it is the champion; null while none serves';
COMMENT ON COLUMN rescore.model_version.engine IS 'compiled or python';
COMMENT ON COLUMN rescore.model_version.format IS 'Format of the artefact';
COMMENT ON COLUMN rescore.model_version.sha256 IS 'SHA-256 of the artefact';
COMMENT ON COLUMN rescore.model_version.parent IS 'Version it was trained on from';
COMMENT ON COLUMN rescore.model_version.created_at IS 'When it was recorded';
COMMENT ON COLUMN rescore.model_version.created_by IS 'Who recorded it';
COMMENT ON COLUMN rescore.model_version.metrics IS 'Measured quality, by name';
COMMENT ON COLUMN rescore.model_version.library_versions IS 'Versions of the libraries that proved it';
COMMENT ON COLUMN rescore.model_version.inputs IS 'How many inputs it takes';
COMMENT ON COLUMN rescore.model_version.bytes IS 'Size of the artefact';
COMMENT ON COLUMN rescore.model_version.signed_by IS 'Key that signed it; null when no keys were registered';
COMMENT ON COLUMN rescore.model_version.signature IS 'Its signature (Ed25519)';
COMMENT ON COLUMN rescore.model_version.role IS 'champion, challenger, shadow, or predecessor of the champion; null for all others';
COMMENT ON COLUMN rescore.model_version.share IS 'Share of the customers it serves';

CREATE OR REPLACE VIEW rescore.model_quality AS
SELECT m.model, m.version, m.version = d.champion AS serving, m.created_at, q.key AS metric,
       CASE pg_catalog.jsonb_typeof(q.value) WHEN 'number' THEN q.value::numeric::double precision END AS value
FROM rescore.models AS m JOIN rescore.deployments AS d ON d.model = m.model
CROSS JOIN LATERAL pg_catalog.jsonb_each(CASE pg_catalog.jsonb_typeof(m.metrics) WHEN 'object' THEN m.metrics ELSE '{}' END) AS q
WHERE pg_catalog.jsonb_typeof(q.value) IN ('number', 'null');
COMMENT ON VIEW rescore.model_quality IS 'Measured quality of every model version, one row per metric.';
COMMENT ON COLUMN rescore.model_quality.model IS 'Name of the model';
COMMENT ON COLUMN rescore.model_quality.version IS 'Number of the version';
COMMENT ON COLUMN rescore.model_quality.serving IS 'Whether it is the champion; null while none serves';
COMMENT ON COLUMN rescore.model_quality.created_at IS 'When the version was recorded';
COMMENT ON COLUMN rescore.model_quality.metric IS 'Name of the metric';
COMMENT ON COLUMN rescore.model_quality.value IS 'Its value; null where it could not be measured';

CREATE OR REPLACE VIEW rescore.incidents AS
SELECT i.cause, i.profile, i.model, i.version, i.sqlstate, i.message, i.context, i.first_at
FROM rescore.incident_log AS i WHERE i.resolved_at IS NULL;
COMMENT ON VIEW rescore.incidents IS 'Open causes of failed scores; the events themselves were kept.';
COMMENT ON COLUMN rescore.incidents.cause IS 'Digest of the cause';
COMMENT ON COLUMN rescore.incidents.profile IS 'Profile whose rows were concerned';
COMMENT ON COLUMN rescore.incidents.model IS 'Model concerned; null when several may be';
COMMENT ON COLUMN rescore.incidents.version IS 'Version that served';
COMMENT ON COLUMN rescore.incidents.sqlstate IS 'SQLSTATE of the error';
COMMENT ON COLUMN rescore.incidents.message IS 'Message when it was first seen';
COMMENT ON COLUMN rescore.incidents.context IS 'Where it was raised';
COMMENT ON COLUMN rescore.incidents.first_at IS 'When it was first seen';

CREATE OR REPLACE VIEW rescore.health AS
SELECT 'incidents' AS "check", CASE count(*) WHEN 0 THEN 'ok' ELSE 'warning' END AS status,
       pg_catalog.concat(count(*), ' open causes of failures; rescore.incidents has them, and `rescore sweep` closes those that are mended') AS detail
FROM rescore.incidents
UNION ALL
SELECT 'coming', 'ok',
       coalesce(pg_catalog.string_agg(pg_catalog.format('%s of %s: events of the future for %s customers, the next at %s', c.event, c.profile, c.customers, c.earliest), '; '
                                      ORDER BY c.profile, c.event), 'no events of the future')
FROM rescore.coming() AS c
UNION ALL
SELECT 'triggers', CASE count(*) WHEN 0 THEN 'ok' ELSE 'error' END,
       coalesce('missing or disabled: ' || pg_catalog.string_agg(t.trigger, ', ' ORDER BY t.trigger) || '; run `rescore apply`', 'all in place')
FROM rescore.trigger_problems() AS t
UNION ALL
SELECT 'tables', CASE count(*) WHEN 0 THEN 'ok' ELSE 'error' END,
       coalesce(pg_catalog.string_agg(pg_catalog.format('%s: %s; %s', t.profile, t.problem, t.hint), '; ' ORDER BY t.profile, t.problem), 'as they were')
FROM rescore.table_problems() AS t
UNION ALL
SELECT 'paused', CASE count(l.paused_at) WHEN 0 THEN 'ok' ELSE 'error' END,
       coalesce(pg_catalog.string_agg(pg_catalog.format('%s since %s by %s', l.profile, l.paused_at, l.paused_by), ', ' ORDER BY l.profile)
                    FILTER (WHERE l.paused_at IS NOT NULL) || '; `rescore resume` ends it', 'no profile')
FROM rescore.queue_lag AS l
UNION ALL
SELECT 'queue', CASE WHEN pg_catalog.min(l.oldest) < pg_catalog.now() - interval '1 hour' THEN 'error'
                     WHEN pg_catalog.min(l.oldest) < pg_catalog.now() - interval '1 minute' OR pg_catalog.bool_or(l.everybody) THEN 'warning' ELSE 'ok' END,
       coalesce(pg_catalog.string_agg(pg_catalog.format('%s: %s since %s', l.profile,
                    CASE WHEN l.everybody THEN 'everybody is to be counted anew' ELSE pg_catalog.concat(l.rows, ' rows wait') END, l.oldest), ', ' ORDER BY l.profile)
                    FILTER (WHERE l.oldest IS NOT NULL) || '; `rescore run` or `rescore fold` counts them', 'nothing waits')
FROM rescore.queue_lag AS l
UNION ALL
SELECT 'backfill', CASE count(*) FILTER (WHERE p.backfill_from IS NOT NULL) WHEN 0 THEN 'ok' ELSE 'warning' END,
       coalesce('not finished: ' || pg_catalog.string_agg(p.profile, ', ' ORDER BY p.profile) FILTER (WHERE p.backfill_from IS NOT NULL)
                || '; run `rescore apply` again', 'none pending')
FROM rescore.profiles AS p
UNION ALL
SELECT 'champions', CASE count(*) FILTER (WHERE d.champion IS NULL) WHEN 0 THEN 'ok' ELSE 'warning' END,
       coalesce('no version serves: ' || pg_catalog.string_agg(d.model, ', ' ORDER BY d.model) FILTER (WHERE d.champion IS NULL),
                pg_catalog.concat(count(*), ' models serve'))
FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
WHERE rescore._defines(p.definition, d.model)
UNION ALL
SELECT 'drift', 'ok',
       coalesce('not told before 2000 snapshots: ' || pg_catalog.string_agg(pg_catalog.format('%s, version %s from a file', d.model, d.champion), '; ' ORDER BY d.model),
                'every model that learns has something to be compared with')
FROM rescore.deployments AS d
WHERE pg_catalog.jsonb_typeof(d.spec -> 'learn') = 'object' AND d.champion IS NOT NULL
  AND NOT EXISTS (SELECT FROM rescore.lineage AS l WHERE l.model = d.model AND l.version = d.champion AND l.reference IS NOT NULL)
UNION ALL
SELECT 'learning', CASE count(*) WHEN 0 THEN 'ok' ELSE 'warning' END,
       coalesce(pg_catalog.string_agg(s.detail, '. ' ORDER BY s.model), 'none has done three rounds in vain')
FROM rescore._starved() AS s
UNION ALL
SELECT 'outbox', CASE WHEN pg_catalog.bool_or(NOT l.here) THEN 'error'
                      WHEN pg_catalog.min(l.oldest) < pg_catalog.now() - interval '1 hour' THEN 'warning' ELSE 'ok' END,
       coalesce(pg_catalog.string_agg(CASE WHEN l.here THEN pg_catalog.concat(l.consumer, ' ', l.pending, ' rows behind')
                                           ELSE l.consumer || ' is of another database: register it again' END, ', ' ORDER BY l.consumer),
                'no consumers')
FROM rescore.outbox_lag AS l
UNION ALL
SELECT 'runner', CASE WHEN j.times > 1 AND (w.pid IS NOT NULL OR pg_catalog.pg_is_in_recovery()) THEN 'error' WHEN j.times > 0 OR w.waits IS NOT NULL THEN 'warning' ELSE 'ok' END,
       pg_catalog.concat_ws('; ', j.failing, w.seen || CASE WHEN w.pid IS NULL THEN coalesce(', last seen ' || pg_catalog.to_char(j.at, 'YYYY-MM-DD HH24:MI'), '') ELSE '' END, w.waits || '; `rescore run` does it')
FROM (SELECT pg_catalog.max(r.at) AS at, pg_catalog.max(r.times) AS times,
             pg_catalog.string_agg(pg_catalog.format('job %s fails since %s', r.job, r.failing_since)
                 -- What an error quotes of a row is not for every reader.
                 || CASE WHEN pg_catalog.has_table_privilege('rescore.runner_jobs', 'SELECT') THEN ': ' || r.error ELSE '' END, '; ' ORDER BY r.job)
                 FILTER (WHERE r.error IS NOT NULL) AS failing
      FROM rescore.runner_jobs AS r) AS j
CROSS JOIN LATERAL (SELECT s.pid, CASE WHEN s.pid IS NOT NULL THEN coalesce(rescore._client(s.pid) || pg_catalog.format(' is at work (server process %s)', s.pid), pg_catalog.format('server process %s is at work', s.pid))
                        WHEN pg_catalog.pg_is_in_recovery() THEN 'on the primary, if any' ELSE 'none is at work' END AS seen,
                   -- None is there, or it has long ended nothing.
                   CASE WHEN s.pid IS NULL OR j.at < pg_catalog.now() - interval '1 hour' THEN (
                       SELECT pg_catalog.string_agg(pg_catalog.format('%s due since %s', o.what, o.since), ', ' ORDER BY o.since, o.what)
                       FROM rescore._overdue() AS o) END AS waits
            FROM (SELECT rescore._runner_pid() AS pid) AS s) AS w
UNION ALL
SELECT u."check", u.status, u.detail FROM rescore._upkeep() AS u;
COMMENT ON VIEW rescore.health IS 'What an administrator should look at: one row per check.';
COMMENT ON COLUMN rescore.health."check" IS 'What was looked at';
COMMENT ON COLUMN rescore.health.status IS 'ok, warning or error';
COMMENT ON COLUMN rescore.health.detail IS 'What was found';
