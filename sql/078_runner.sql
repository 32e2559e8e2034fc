-- Whether `rescore run` is at work in this database, and what waits for it.
-- Calls: rescore._defines of 035_deployment, rescore._seconds of 076_snapshots. Tables: reads pg_locks, rescore.profiles, rescore.deployments,
-- rescore.snapshot_rounds, rescore.learning, rescore.learn_requests, rescore.snapshots.

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
        SELECT format('learning of %s', d.model),
               l.updated_at + CASE WHEN d.spec -> 'learn' ? 'when' THEN (d.spec #>> '{learn,when,every}')::interval ELSE interval '1 day' END
        FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile JOIN rescore.learning AS l ON l.model = d.model
        WHERE p.clock = 'now' AND jsonb_typeof(d.spec -> 'learn') = 'object' AND d.champion IS NOT NULL AND rescore._defines(p.definition, d.model)
        UNION ALL
        SELECT format('a request that %s learn', q.model), min(q.at)
        FROM rescore.learn_requests AS q JOIN rescore.deployments AS d ON d.model = q.model JOIN rescore.profiles AS p ON p.profile = d.profile
        WHERE q.done_at IS NULL AND jsonb_typeof(d.spec -> 'learn') = 'object' AND rescore._defines(p.definition, d.model) GROUP BY q.model) AS o (what, since)
    WHERE o.since < clock_timestamp() - interval '1 hour'
$$;
COMMENT ON FUNCTION rescore._overdue() IS 'What definitions have done again and again, or somebody has asked for, and has been due for an hour and more.';
