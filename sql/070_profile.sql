-- Whole profiles: verifying, rebuilding. Each dispatches to functions that `rescore apply`
-- generates; S is the profile's slug. Sweeping stands in 072_sweep.sql.
-- Calls: 010_errors, 060_read, rescore._queue_ids, _unqueue, _meet, rescore_compiled.S__differences, S__keys, S__recompute,
-- S__recount.
-- Tables: writes rescore.profiles; takes rows of rescore.queue; the generated functions write the profile table.

CREATE OR REPLACE FUNCTION rescore.verify(profile text)
RETURNS TABLE (key text, feature text, stored text, expected text)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT d.key::text, d.feature::text, d.stored::text, d.expected::text FROM rescore_compiled.%I() AS d',
                                (rescore._profile(profile)).slug || '__differences');
EXCEPTION
    WHEN undefined_function OR undefined_column OR undefined_table OR datatype_mismatch THEN
        RAISE EXCEPTION USING ERRCODE = 'RS014', MESSAGE = format('profile %s no longer fits its tables', profile), DETAIL = SQLERRM || '.',
            HINT = 'Bring it to the tables as they are now with `rescore apply`; rescore.health names what has changed.';
END
$$;
COMMENT ON FUNCTION rescore.verify(text) IS
    'Every stored value of a profile that differs from a recount of its events; empty means right; RS014 where its tables have changed under it.';

CREATE OR REPLACE FUNCTION rescore._meet(profile text)
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    -- First of all: who has locked it at their commit is waited for, and counted.
    UPDATE rescore.profiles AS p SET backfill_from = p.backfill_from WHERE p.profile = _meet.profile
$$;
COMMENT ON FUNCTION rescore._meet(text) IS
    'Writes the row of a profile as it is: who counts at commit by an older snapshot then fails, also for customers whom a recount of everybody did not find.';

CREATE OR REPLACE FUNCTION rescore.rebuild(profile text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p rescore.profiles := rescore._profile(profile);
    keys text[];
    after text;
    changed bigint;
    total bigint := 0;
    -- What waits now is seen by every recount below.
    waiting bigint[] := rescore._queue_ids(profile);
    -- Each is counted once: where something waits, who is counted leaves the queue with it.
    counts text := CASE WHEN cardinality(waiting) > 0 AND to_regproc(format('rescore_compiled.%I', p.slug || '__recount')) IS NOT NULL
                        THEN 'recount' ELSE 'recompute' END;
BEGIN
    PERFORM rescore._meet(p.profile);
    LOOP
        EXECUTE format('SELECT rescore_compiled.%I($1::%s, 5000)::text[]', p.slug || '__keys', p.key_type) INTO keys USING after;
        EXIT WHEN coalesce(cardinality(keys), 0) = 0;
        EXECUTE format('SELECT rescore_compiled.%I($1::%s[])', p.slug || '__' || counts, p.key_type) INTO changed USING keys;
        total := total + changed;
        after := keys[cardinality(keys)];
    END LOOP;
    PERFORM rescore._unqueue(profile, waiting);
    RETURN total;
END
$$;
COMMENT ON FUNCTION rescore.rebuild(text) IS
    'Recomputes a profile from its events, in batches of one transaction; returns how many rows changed.';
REVOKE EXECUTE ON FUNCTION rescore.rebuild(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION rescore._no_opening(state text)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'RS014', MESSAGE = format('what column %s held before that day cannot be told from what came since', quote_ident(state)),
        DETAIL = 'Events before the day of `history_from` are gone, and this counter is no sum that they could be taken off.',
        HINT = 'Name the day before the events are removed, or begin with a new feature.';
END
$$;
COMMENT ON FUNCTION rescore._no_opening(text) IS
    'Raises RS014: a counter whose events are gone in part cannot be split at a day.';

CREATE OR REPLACE FUNCTION rescore.verify_model(model text)
RETURNS double precision
LANGUAGE plpgsql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source record;
    inputs jsonb;
    largest double precision;
BEGIN
    SELECT * INTO source FROM rescore._source(model);
    PERFORM rescore._require_python(format('verify model %s', model));
    IF source.version IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS006', MESSAGE = format('model %s has no serving version', model),
            HINT = 'Publish one with `rescore publish`.';
    ELSIF source.linear IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS012', MESSAGE = format('version %s of model %s is not linear', source.version, model),
            DETAIL = 'It has no compiled scorer to compare with the artefact.',
            HINT = 'Nothing is to be done: it is scored from the artefact itself.';
    END IF;
    inputs := source.contract -> 'inputs';
    EXECUTE format(
        'WITH r AS MATERIALIZED (SELECT row_number() OVER () AS n, %1$s AS s, %2$s AS x FROM %3$s AS p), '
        'flat AS (SELECT r.n / 1000 AS b, array_agg(u.v ORDER BY r.n, u.i) AS v, (count(*) / count(DISTINCT r.n))::integer AS width '
        'FROM r CROSS JOIN LATERAL unnest(r.x) WITH ORDINALITY AS u (v, i) GROUP BY 1), '
        'compiled AS (SELECT r.n / 1000 AS b, array_agg(r.s ORDER BY r.n) AS s FROM r GROUP BY 1) '
        'SELECT max(abs(d.compiled - d.artefact)) FROM flat JOIN compiled USING (b) '
        'CROSS JOIN LATERAL unnest(compiled.s, rescore._python_scores($2, $3, flat.v, flat.width)) AS d (compiled, artefact)',
        rescore._version_call(model, source.version, inputs, source."values", '$1'),
        rescore._version_row_call(model, source.version, inputs, source."values", '$1'), source.relation)
        INTO largest USING source.clock, model, source.version;
    RETURN coalesce(largest, 0);
END
$$;
COMMENT ON FUNCTION rescore.verify_model(text) IS
    'The largest difference between compiled scorer and artefact over the live profile rows; 0 for an empty profile; RS012 for a model that is not linear.';
