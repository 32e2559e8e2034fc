-- Whether `rescore run` is at work in this database, and what waits for it.
-- Calls: rescore._defines of 035_deployment, rescore._seconds of 076_snapshots. Tables: reads pg_locks, rescore.profiles,
-- rescore.deployments, rescore.models, rescore.snapshot_rounds, rescore.learning, rescore.learn_log, rescore.learn_requests, rescore.lineage,
-- rescore.snapshots.

CREATE OR REPLACE FUNCTION rescore._runner_pid()
RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- The runner holds this advisory lock while its connection lives.
    SELECT l.pid FROM pg_locks AS l CROSS JOIN (SELECT hashtextextended('rescore.run', 0) AS key) AS k
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
      AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
      AND l.classid::bigint = (k.key >> 32) & 4294967295 AND l.objid::bigint = k.key & 4294967295
$$;
COMMENT ON FUNCTION rescore._runner_pid() IS 'Process of the session by which `rescore run` is at work in this database; NULL when none is.';

CREATE OR REPLACE FUNCTION rescore._learnable_since(model text)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- As rescore.trainer.loop has it, or later: examples of other versions count where these ask for the very same, and a version that was
    -- trained anew may begin from older ones.
    WITH standing AS MATERIALIZED (
        SELECT coalesce(l.watermark_xid, '0') AS xid, coalesce(l.watermark_id, 0) AS id, d.spec ->> 'label' IS NOT NULL AS labelled,
               coalesce(p.definition #>> '{interventions,treated}' = 'weight', false) AS weighs,
               coalesce(CASE WHEN k.goes_on THEN l.memory ELSE n.memory END ->> 'after', '-infinity')::timestamptz AS after,
               ARRAY(SELECT m.version FROM rescore.models AS m WHERE m.model = d.model AND m.contract = c.contract) AS versions,
               t.batch, coalesce((d.spec #>> '{learn,examples}')::integer, t.batch) AS needed,
               CASE WHEN t.test NOT LIKE '%|%%' ESCAPE '|' THEN t.test::interval END AS newest
        FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
        LEFT JOIN rescore.learning AS l ON l.model = d.model
        LEFT JOIN rescore.lineage AS n ON n.model = d.model AND n.version = d.champion
        -- Where another version was let serve since the last round, learning begins from that.
        CROSS JOIN LATERAL (SELECT coalesce(d.champion IN (l.champion, l.line), false) AS goes_on) AS k
        JOIN rescore.models AS c ON c.model = d.model AND c.version = CASE WHEN k.goes_on THEN coalesce(l.line, d.champion) ELSE d.champion END
        CROSS JOIN LATERAL (SELECT coalesce((d.spec #>> '{learn,batch}')::integer, 500) AS batch, coalesce(d.spec #>> '{learn,test}', '20%') AS test) AS t
        WHERE d.model = _learnable_since.model
    ), example AS NOT MATERIALIZED (
        SELECT s.resolved, s.id, s.resolved_at, s.taken_at, s.due_at FROM rescore.snapshots AS s
        WHERE s.model = _learnable_since.model AND s.resolved IS NOT NULL
          AND (s.resolved, s.id) > ((SELECT g.xid FROM standing AS g), (SELECT g.id FROM standing AS g))
          AND (s.label IS NOT NULL OR NOT (SELECT g.labelled FROM standing AS g)) AND NOT s.censored AND s.quarantined IS NULL
          AND (s.treated_at IS NULL OR (SELECT g.weighs FROM standing AS g))
          AND s.version = ANY ((SELECT g.versions FROM standing AS g)::integer[]) AND s.taken_at > (SELECT g.after FROM standing AS g)
    ), first AS (
        SELECT max(f.due_at) AS due_at
        FROM (SELECT e.due_at FROM example AS e ORDER BY e.resolved, e.id LIMIT (SELECT g.batch FROM standing AS g)) AS f
    )
    SELECT CASE WHEN g.newest IS NULL
                THEN (SELECT e.resolved_at FROM example AS e ORDER BY e.resolved, e.id OFFSET g.needed - 1 LIMIT 1)
                -- So many that one of them is sure to be in a whole micro-batch, behind the first.
                ELSE (SELECT e.resolved_at FROM example AS e WHERE e.taken_at >= (SELECT f.due_at FROM first AS f) + g.newest
                      ORDER BY e.resolved, e.id OFFSET g.batch - 1 LIMIT 1) END
    FROM standing AS g
$$;
COMMENT ON FUNCTION rescore._learnable_since(text) IS 'Since when a model has had enough new examples for a round of learning, by the profile''s clock; NULL while it has not.';

CREATE OR REPLACE FUNCTION rescore._overdue()
RETURNS TABLE (what text, since timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    -- For an hour: pg_cron, which may do it as well, may come once an hour. Session clocks are told, never waited for.
    SELECT o.what, o.since FROM (
        SELECT format('snapshots of %s', p.profile), coalesce(r.next_at, p.applied_at)
        FROM rescore.profiles AS p LEFT JOIN rescore.snapshot_rounds AS r ON r.profile = p.profile
        WHERE p.clock = 'now' AND rescore._seconds(p.definition, 'every', NULL) IS NOT NULL
          AND EXISTS (SELECT FROM rescore.deployments AS d WHERE d.profile = p.profile AND d.champion IS NOT NULL)
        UNION ALL
        SELECT format('learning of %s', d.model), greatest(r.at + w.every, e.since)
        FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
        CROSS JOIN LATERAL (SELECT CASE WHEN d.spec -> 'learn' ? 'when' THEN (d.spec #>> '{learn,when,every}')::interval ELSE interval '1 day' END) AS w (every)
        CROSS JOIN LATERAL (SELECT max(g.at) FROM rescore.learn_log AS g
                            WHERE g.model = d.model AND g.action <> 'nothing' AND g.parent IS NOT NULL) AS r (at)
        CROSS JOIN LATERAL (SELECT rescore._learnable_since(d.model)) AS e (since)
        WHERE p.clock = 'now' AND jsonb_typeof(d.spec -> 'learn') = 'object' AND d.champion IS NOT NULL AND rescore._defines(p.definition, d.model)
          AND w.every IS NOT NULL AND e.since IS NOT NULL
        UNION ALL
        SELECT format('a request that %s learn', q.model), min(q.at)
        FROM rescore.learn_requests AS q JOIN rescore.deployments AS d ON d.model = q.model JOIN rescore.profiles AS p ON p.profile = d.profile
        WHERE q.done_at IS NULL AND jsonb_typeof(d.spec -> 'learn') = 'object' AND rescore._defines(p.definition, d.model) GROUP BY q.model) AS o (what, since)
    WHERE o.since < clock_timestamp() - interval '1 hour'
$$;
COMMENT ON FUNCTION rescore._overdue() IS 'What definitions have done again and again, or somebody has asked for, and has been due for an hour and more.';
