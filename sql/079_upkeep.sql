-- What slows down or falsifies scores over time: old snapshots, dead rows, triggers that do not fire,
-- scores left behind.
-- Calls: rescore._of_profiles. Tables: reads rescore.profiles and the catalogue.

CREATE OR REPLACE FUNCTION rescore._held_back()
RETURNS TABLE (holder text, age bigint)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- Whatever keeps vacuum from removing dead rows, by how many transactions.
    SELECT format('session %s%s', a.pid, coalesce(' of ' || quote_ident(a.usename), '')), age(a.backend_xmin)::bigint
    FROM pg_stat_activity AS a WHERE a.backend_xmin IS NOT NULL AND a.pid <> pg_backend_pid()
    UNION ALL
    SELECT format('prepared transaction %L', x.gid), age(x.transaction)::bigint FROM pg_prepared_xacts AS x
    UNION ALL
    SELECT format('replication slot %s', s.slot_name), greatest(age(s.xmin), age(s.catalog_xmin))::bigint
    FROM pg_replication_slots AS s WHERE s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL
$$;
COMMENT ON FUNCTION rescore._held_back() IS
    'Who holds back the removal of dead rows, and how many transactions have begun since.';

CREATE OR REPLACE FUNCTION rescore._dead_rows()
RETURNS TABLE (profile text, live bigint, dead bigint)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.profile, pg_stat_get_live_tuples(c.oid), pg_stat_get_dead_tuples(c.oid)
    FROM rescore.profiles AS p
    JOIN pg_class AS c ON c.oid = to_regclass(format('%I.%I', p.table_schema, p.table_name))
$$;
COMMENT ON FUNCTION rescore._dead_rows() IS 'Live and dead rows of each profile table, as the statistics have them.';

CREATE OR REPLACE FUNCTION rescore._quiet_triggers()
RETURNS TABLE (profile text, name text)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    -- Those a subscription needs are there, and enabled, and still do not fire for it.
    SELECT p.profile, t.tgname::text
    FROM rescore.profiles AS p CROSS JOIN LATERAL jsonb_array_elements_text(coalesce(p.plan -> 'always', '[]')) AS w (name)
    JOIN pg_trigger AS t ON t.tgname = w.name AND t.tgenabled <> 'A'
$$;
COMMENT ON FUNCTION rescore._quiet_triggers() IS
    'Triggers of replicated event tables that are not enabled ALWAYS.';

CREATE OR REPLACE FUNCTION rescore.staleness()
RETURNS TABLE (profile text, score text, looked bigint, stale bigint, of_other_version bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT o.profile, s.score, s.looked, s.stale, s.of_other_version
    FROM rescore._of_profiles('staleness') AS o
    CROSS JOIN LATERAL jsonb_to_record(o.told) AS s (score text, looked bigint, stale bigint, of_other_version bigint)
$$;
COMMENT ON FUNCTION rescore.staleness() IS
    'For each score: of how many rows (all, or a sample of large tables) it was looked at, in how many it is marked stale, and in how many another version than the serving one wrote it.';

CREATE OR REPLACE FUNCTION rescore._upkeep()
RETURNS TABLE ("check" text, status text, detail text)
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'snapshots', CASE WHEN max(h.age) > 1000000 THEN 'warning' ELSE 'ok' END,
           coalesce('the oldest is held by ' || (array_agg(h.holder ORDER BY h.age DESC))[1] || format(', %s transactions ago', max(h.age)),
                    'nobody holds back vacuum')
    FROM rescore._held_back() AS h
    UNION ALL
    SELECT 'dead rows', CASE WHEN bool_or(d.dead > 10000 AND d.dead > d.live) THEN 'warning' ELSE 'ok' END,
           coalesce(string_agg(format('%s: %s dead, %s live', d.profile, d.dead, d.live), '; ' ORDER BY d.profile), 'no profiles')
    FROM rescore._dead_rows() AS d
    UNION ALL
    SELECT 'replication', CASE count(*) WHEN 0 THEN 'ok' ELSE 'error' END,
           coalesce('not fired for what a subscription brings: ' || string_agg(q.name, ', ' ORDER BY q.name) || '; run `rescore apply`',
                    'every trigger fires for whom it should')
    FROM rescore._quiet_triggers() AS q
    UNION ALL
    SELECT 'stale', CASE WHEN bool_or(s.stale > 0) THEN 'warning' ELSE 'ok' END,
           coalesce(string_agg(format('%s of %s: %s%% stale, %s%% of another version', s.score, s.profile,
                                      round(100.0 * s.stale / greatest(s.looked, 1), 1), round(100.0 * s.of_other_version / greatest(s.looked, 1), 1)),
                               '; ' ORDER BY s.profile, s.score), 'no scores')
    FROM rescore.staleness() AS s
$$;
COMMENT ON FUNCTION rescore._upkeep() IS 'Checks of rescore.health on what accumulates: one row each.';
