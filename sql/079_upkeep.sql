-- What slows down or falsifies scores over time: old snapshots, dead rows, triggers that do not fire, partitions
-- that are not made or dropped, scores left behind.
-- Calls: rescore._of_profiles, _seconds, _snapshot_month and _snapshot_months of 076_snapshots. Tables: reads rescore.profiles, rescore.deployments,
-- rescore.snapshots and the catalogue.

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

CREATE OR REPLACE FUNCTION rescore._partition_problems()
RETURNS TABLE (problem text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    month timestamptz := date_trunc('month', now(), 'UTC');
    -- Of a session's clock nobody knows here where it stands.
    models text[] := ARRAY(SELECT d.model FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile WHERE p.clock = 'now');
    -- Tended at least once a day, or there is nobody who would.
    before timestamptz := (SELECT now() - max(rescore._seconds(p.definition, 'keep', interval '400 days')) - interval '1 day' FROM rescore.profiles AS p WHERE p.clock = 'now');
    part text;
    others boolean;
BEGIN
    IF to_regclass(format('rescore.%I', rescore._snapshot_month(month))) IS NULL
       AND EXISTS (SELECT FROM rescore.snapshots_rest AS s WHERE s.model = ANY (models) AND s.taken_at >= month) THEN
        RETURN QUERY SELECT format('rescore.%I is not made yet, its snapshots are in rescore.snapshots_rest', rescore._snapshot_month(month));
    END IF;
    FOR part IN SELECT m.part FROM rescore._snapshot_months() AS m WHERE m.ended <= before LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM rescore.%I AS s WHERE s.model <> ALL($1))', part) INTO others USING models;
        CONTINUE WHEN others;
        RETURN QUERY SELECT format('rescore.%I is older than anything is kept, and not dropped yet', part);
    END LOOP;
END
$$;
COMMENT ON FUNCTION rescore._partition_problems() IS
    'Partitions of rescore.snapshots that should have been made or dropped by now, as those can be who go by the time of day.';

CREATE OR REPLACE FUNCTION rescore._snapshot_holders()
RETURNS TABLE (holder text)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT DISTINCT coalesce('session ' || l.pid, format('prepared transaction %L', x.gid))
    FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
    LEFT JOIN pg_prepared_xacts AS x ON l.virtualtransaction = '-1/' || x.transaction::text
    WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
      AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
      AND c.relnamespace = 'rescore'::regnamespace AND c.relname ~ '^snapshots(_rest|_[0-9]+_[0-9][0-9])?$'
$$;
COMMENT ON FUNCTION rescore._snapshot_holders() IS
    'Who reads or writes rescore.snapshots, until the transaction ends: its partitions are made and dropped when nobody does.';

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
    SELECT 'partitions', CASE count(*) WHEN 0 THEN 'ok' ELSE 'warning' END,
           coalesce(string_agg(f.problem, '; ' ORDER BY f.problem)
                    || coalesce('; in use by ' || (SELECT string_agg(h.holder, ', ' ORDER BY h.holder) FROM rescore._snapshot_holders() AS h), '')
                    || '; `rescore run` or `rescore snapshot` does it when nobody holds the table', 'as they should be')
    FROM rescore._partition_problems() AS f
    UNION ALL
    SELECT 'stale', CASE WHEN bool_or(s.stale > 0) THEN 'warning' ELSE 'ok' END,
           coalesce(string_agg(format('%s of %s: %s%% stale, %s%% of another version', s.score, s.profile,
                                      round(100.0 * s.stale / greatest(s.looked, 1), 1), round(100.0 * s.of_other_version / greatest(s.looked, 1), 1)),
                               '; ' ORDER BY s.profile, s.score), 'no scores')
    FROM rescore.staleness() AS s
$$;
COMMENT ON FUNCTION rescore._upkeep() IS 'Checks of rescore.health on what accumulates: one row each.';
