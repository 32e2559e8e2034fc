-- Why a row had its score then: a logged design row times the weights of the version that served.
-- Runs as the caller, who must be allowed to read snapshots: they hold every customer's features. Of a customer
-- whose row a policy hides from the caller nothing is explained either.
-- Calls: 010_errors, 025_design, 030_compile, 060_read. Tables: reads rescore.snapshots, rescore.models,
-- rescore.deployments, rescore.profiles and, where a policy is on it, the profile table.

CREATE OR REPLACE FUNCTION rescore._may_see(model text, key text)
RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p rescore.profiles;
    relation text;
    seen boolean;
BEGIN
    SELECT f.* INTO p FROM rescore.deployments AS d JOIN rescore.profiles AS f ON f.profile = d.profile WHERE d.model = _may_see.model;
    relation := format('%I.%I', p.table_schema, p.table_name);
    -- Never so for a superuser or the table's owner, who run nothing here that the table brings with it.
    IF NOT coalesce(row_security_active(to_regclass(relation)), false) THEN
        RETURN true;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s AS p WHERE p.%I = $1::%s)', relation, p.key_column, p.key_type) INTO seen USING key;
    RETURN seen;
END
$$;
COMMENT ON FUNCTION rescore._may_see(text, text) IS
    'Whether the caller sees a customer''s row of the profile of a model, where row-level security decides on that.';

CREATE OR REPLACE FUNCTION rescore._explained(snapshot rescore.snapshots)
RETURNS TABLE (feature text, value double precision, weight double precision, contribution double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source rescore.models;
BEGIN
    SELECT * INTO source FROM rescore.models AS m WHERE m.model = snapshot.model AND m.version = snapshot.version;
    IF source.linear IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS012', MESSAGE = format('version %s of model %s is scored by Python', snapshot.version, snapshot.model),
            DETAIL = 'Contributions are exact for compiled, linear versions only.',
            HINT = format('Its design row is kept: SELECT design FROM rescore.snapshots WHERE id = %s.', snapshot.id);
    END IF;
    RETURN QUERY
    SELECT c.column_name, snapshot.design[c.position], l.weights[c.position], snapshot.design[c.position] * l.weights[c.position]
    FROM rescore._linear(source.linear, cardinality(snapshot.design)) AS l
    CROSS JOIN LATERAL rescore._columns(source.contract) AS c
    UNION ALL SELECT '(intercept)', 1, l.intercept, l.intercept
    FROM rescore._linear(source.linear, cardinality(snapshot.design)) AS l;
END
$$;
COMMENT ON FUNCTION rescore._explained(rescore.snapshots) IS
    'What each column of a logged design row added to the linear sum; RS012 when its version is not linear.';

CREATE OR REPLACE FUNCTION rescore.explain_snapshot(id bigint)
RETURNS TABLE (feature text, value double precision, weight double precision, contribution double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found rescore.snapshots;
BEGIN
    SELECT * INTO found FROM rescore.snapshots AS s WHERE s.id = explain_snapshot.id;
    IF found.id IS NULL OR NOT rescore._may_see(found.model, found.key) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS025', MESSAGE = format('there is no snapshot %s', coalesce(id::text, 'NULL')),
            DETAIL = 'Snapshots are dropped once they are older than the profile keeps them.',
            HINT = 'Look for one: SELECT id, taken_at FROM rescore.snapshots WHERE model = ... AND key = ...';
    END IF;
    RETURN QUERY SELECT * FROM rescore._explained(found);
END
$$;
COMMENT ON FUNCTION rescore.explain_snapshot(bigint) IS
    'What each column of a logged design row added to the linear sum, with the weights of the version that served it; RS025 for an unknown snapshot.';

CREATE OR REPLACE FUNCTION rescore.explain(model text, key text, at timestamptz)
RETURNS TABLE (feature text, value double precision, weight double precision, contribution double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found rescore.snapshots;
    visible boolean;
BEGIN
    IF rescore._clock_of(model) IS NULL THEN
        PERFORM rescore._unknown_model(model);
    END IF;
    -- A text that is no key has no snapshots.
    visible := EXISTS (SELECT FROM rescore.snapshots AS s WHERE s.model = explain.model AND s.key = explain.key) AND rescore._may_see(model, key);
    SELECT * INTO found FROM rescore.snapshots AS s
    WHERE visible AND s.model = explain.model AND s.key = explain.key AND s.taken_at <= explain.at ORDER BY s.taken_at DESC LIMIT 1;
    IF found.id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS025', MESSAGE = format('no score of model %s for key %s was logged by %s', model, quote_literal(key), at),
            DETAIL = coalesce('The first one was logged at ' || (SELECT min(s.taken_at) FROM rescore.snapshots AS s
                                     WHERE visible AND s.model = explain.model AND s.key = explain.key)::text || '.', 'None was logged at all.'),
            HINT = 'Name a later moment; rescore.predict_key(..., at => ...) recounts a past score from the events.';
    END IF;
    RETURN QUERY SELECT * FROM rescore._explained(found);
END
$$;
COMMENT ON FUNCTION rescore.explain(text, text, timestamptz) IS
    'The same for a past score: the last one logged up to the moment, by the version that served it; RS025 when none was.';

CREATE OR REPLACE FUNCTION rescore.explain(model text, key bigint, at timestamptz)
RETURNS TABLE (feature text, value double precision, weight double precision, contribution double precision)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT e.feature, e.value, e.weight, e.contribution FROM rescore.explain(model, key::text, at) AS e $$;
COMMENT ON FUNCTION rescore.explain(text, bigint, timestamptz) IS 'The same for a past score, by bigint key.';

CREATE OR REPLACE FUNCTION rescore.explain(model text, key uuid, at timestamptz)
RETURNS TABLE (feature text, value double precision, weight double precision, contribution double precision)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT e.feature, e.value, e.weight, e.contribution FROM rescore.explain(model, key::text, at) AS e $$;
COMMENT ON FUNCTION rescore.explain(text, uuid, timestamptz) IS 'The same for a past score, by uuid key.';
