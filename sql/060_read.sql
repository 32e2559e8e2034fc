-- Reading scores: of a payload, and why a row has its score. See also predict and predict_key, which
-- `rescore apply` generates.
-- Calls: 010_errors, 020_contract, 030_compile, 040_router. Tables: reads rescore.deployments,
-- rescore.profiles, rescore.models, and the profile tables as the caller.

CREATE OR REPLACE FUNCTION rescore._accepts(type text, value jsonb)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
-- plpgsql keeps its plan, SQL would be planned anew for each value. No EXCEPTION block: parallel queries cannot have one.
BEGIN
    RETURN CASE
        WHEN jsonb_typeof(value) = 'null' THEN true
        WHEN type = 'text[]' THEN jsonb_typeof(value) = 'array' AND NOT jsonb_path_exists(value, 'strict $[*] ? (@ == null || @.type() == "array" || @.type() == "object")')
        WHEN jsonb_typeof(value) IN ('array', 'object') THEN false
        WHEN type IN ('text', 'character varying') THEN true
        WHEN type = 'boolean' THEN value #>> '{}' IN ('true', 'false')
        WHEN type = 'timestamp with time zone' THEN jsonb_typeof(value) = 'string' AND value #>> '{}' ~*
            '^(-?infinity|[0-9]{4,6}-[0-9][0-9]-[0-9][0-9]([ T][0-9][0-9]:[0-9][0-9](:[0-9][0-9]([.][0-9]{1,9})?)?)?[[:space:]]*(z|[+-][0-9][0-9](:?[0-9][0-9])?(:?[0-9][0-9])?)?( bc)?)$'
        WHEN jsonb_typeof(value) = 'boolean' THEN false
        WHEN value #>> '{}' ~* '^([+-]?infinity|nan)$' THEN type IN ('real', 'double precision', 'numeric')
        WHEN length(value #>> '{}') > 400 OR value #>> '{}' !~ '^[[:space:]]*[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,3})?[[:space:]]*$' THEN false
        WHEN type IN ('smallint', 'integer', 'bigint') THEN value #>> '{}' ~ '^[[:space:]]*[+-]?[0-9]{1,19}[[:space:]]*$' AND (value #>> '{}')::numeric BETWEEN
             CASE type WHEN 'smallint' THEN -32768 WHEN 'integer' THEN -2147483648 ELSE -9223372036854775808 END AND
             CASE type WHEN 'smallint' THEN 32767 WHEN 'integer' THEN 2147483647 ELSE 9223372036854775807 END
        WHEN (value #>> '{}')::numeric = 0 THEN true
        ELSE abs((value #>> '{}')::numeric) BETWEEN CASE type WHEN 'real' THEN 1.2e-38 ELSE 1e-300 END
                                                AND CASE type WHEN 'real' THEN 3.4e38 ELSE 1e300 END
    END;
END
$$;
COMMENT ON FUNCTION rescore._accepts(text, jsonb) IS 'Whether a JSON value can be cast to the type of an input.';

CREATE OR REPLACE FUNCTION rescore._check_payload(model text, inputs jsonb, features jsonb)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known text[] := ARRAY(SELECT i ->> 'name' FROM jsonb_array_elements(inputs) AS i);
    wrong record;
BEGIN
    IF coalesce(jsonb_typeof(features), 'object') <> 'object' THEN
        RAISE EXCEPTION USING ERRCODE = 'RS009', MESSAGE = format('a payload is a JSON object, not %s', left(features::text, 80)),
            DETAIL = format('Features of model %s: %s.', model, rescore._listed(known)),
            HINT = 'Pass {"feature": value, ...}.';
    END IF;
    SELECT f.key, f.value, i ->> 'type' AS type INTO wrong
    FROM jsonb_each(features) AS f LEFT JOIN jsonb_array_elements(inputs) AS i ON i ->> 'name' = f.key
    WHERE i IS NULL OR NOT rescore._accepts(rescore._argument_type(i ->> 'type', i ->> 'kind'), f.value)
    ORDER BY i IS NULL DESC, f.key LIMIT 1;
    IF wrong.key IS NOT NULL AND wrong.type IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS009', MESSAGE = format('model %s has no feature %s', model, wrong.key),
            DETAIL = CASE WHEN rescore._near(wrong.key, known) <> '{}'
                THEN format('Did you mean %s? ', rescore._listed(rescore._near(wrong.key, known))) ELSE '' END
                || format('Its features: %s.', rescore._listed(known)),
            HINT = 'Leave out what is not known: it takes its default.';
    ELSIF wrong.key IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS009', MESSAGE = format('%s is no value of feature %s', left(wrong.value::text, 80), wrong.key),
            DETAIL = format('Its type is %s.', wrong.type),
            HINT = 'Pass a value of that type, or null.';
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._check_payload(text, jsonb, jsonb) IS
    'Raises RS009 when a payload names an unknown feature or has a value of the wrong type.';

CREATE OR REPLACE FUNCTION rescore._clock_of(model text)
RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT CASE p.clock WHEN 'session' THEN rescore.clock() ELSE now() END
            FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile WHERE d.model = _clock_of.model);
END
$$;
COMMENT ON FUNCTION rescore._clock_of(text) IS 'The moment a model''s scores are for; NULL when there is no such model.';

CREATE OR REPLACE FUNCTION rescore.predict_payload(model text, features jsonb)
RETURNS double precision
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    clock timestamptz := rescore._clock_of(model);
    score double precision;
BEGIN
    IF clock IS NULL THEN
        PERFORM rescore._unknown_model(model);
    END IF;
    EXECUTE format('SELECT rescore_compiled.%I($1, $2)', model || '_payload') INTO score USING features, clock;
    RETURN score;
END
$$;
COMMENT ON FUNCTION rescore.predict_payload(text, jsonb) IS
    'Score of a payload {"feature": value} by a model''s champion; missing features take their default, unknown ones raise RS009; RS001 for a model that is not, or no longer, defined.';

CREATE OR REPLACE FUNCTION rescore._check_key(key text, profile text, type text)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (CASE type
        WHEN 'bigint' THEN CASE WHEN key ~ '^[[:space:]]*[+-]?[0-9]{1,19}[[:space:]]*$'
            THEN key::numeric NOT BETWEEN -9223372036854775808 AND 9223372036854775807 ELSE true END
        WHEN 'uuid' THEN key !~* '^[[:space:]]*[{]?[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}[}]?[[:space:]]*$'
        ELSE key IS NULL END) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS013', MESSAGE = format('%s is no key of profile %s', coalesce(quote_literal(left(key, 80)), 'NULL'), profile),
            DETAIL = format('Its keys are of type %s.', type),
            HINT = 'Pass a key of that type.';
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._check_key(text, text, text) IS 'Raises RS013 when a text is no key of that type.';

CREATE OR REPLACE FUNCTION rescore._values(profile text, inputs jsonb)
RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    -- The compiler notes in its plan how an input is read where it is not just its column.
    SELECT ARRAY(SELECT replace(coalesce(f.plan -> 'values' ->> (i ->> 'name'), format('p.%I', i ->> 'name')), 'rescore_v_clock', '$1')
                 FROM jsonb_array_elements(inputs) WITH ORDINALITY AS t (i, n) ORDER BY n)
    FROM rescore.profiles AS f WHERE f.profile = _values.profile
$$;
COMMENT ON FUNCTION rescore._values(text, jsonb) IS 'SQL: each input''s value in a row p of the profile table; $1 is the clock.';

CREATE OR REPLACE FUNCTION rescore._source(model text, key text DEFAULT NULL)
RETURNS TABLE (profile text, slug text, relation text, key_column text, key_type text, clock timestamptz, version integer,
               engine text, contract jsonb, linear jsonb, "values" text[])
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    served integer;
BEGIN
    IF NOT EXISTS (SELECT FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
                   WHERE d.model = _source.model AND rescore._defines(p.definition, d.model)) THEN
        PERFORM rescore._unknown_model(model);
    END IF;
    EXECUTE format('SELECT rescore_compiled.%I($1)', model || '_served') INTO served USING key;
    RETURN QUERY
    SELECT p.profile, p.slug, format('%I.%I', p.table_schema, p.table_name), p.key_column, p.key_type, rescore._clock_of(_source.model),
           m.version, m.engine, m.contract, m.linear, rescore._values(p.profile, m.contract -> 'inputs')
    FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
    LEFT JOIN rescore.models AS m ON m.model = d.model AND m.version = served
    WHERE d.model = _source.model;
END
$$;
COMMENT ON FUNCTION rescore._source(text, text) IS
    'A model''s profile, the version that serves a key, by default the champion, and how its inputs are read from a row; RS001 for a model that is not, or no longer, defined.';

CREATE OR REPLACE FUNCTION rescore.explain(model text, key text)
RETURNS TABLE (feature text, value double precision, weight double precision, contribution double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source record;
    design_row double precision[];
BEGIN
    SELECT * INTO source FROM rescore._source(model);
    IF source.version IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS006', MESSAGE = format('model %s has no serving version', model),
            HINT = 'Publish one with `rescore publish`.';
    ELSIF source.engine = 'python' OR source.linear IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS012', MESSAGE = format('version %s of model %s is scored by Python', source.version, model),
            DETAIL = 'Contributions are exact for compiled, linear versions only.',
            HINT = 'Publish a linear model without `engine: python`.';
    END IF;
    PERFORM rescore._check_key(key, source.profile, source.key_type);
    -- As the profile writes the key, whose hash says who serves it.
    EXECUTE format('SELECT ($1::%s)::text', source.key_type) INTO key USING key;
    SELECT * INTO source FROM rescore._source(model, key);
    EXECUTE format('SELECT %s FROM rescore_compiled.%I($2::%s) AS p WHERE p.%I IS NOT NULL',
                   rescore._version_row_call(model, source.version, source.contract -> 'inputs', source."values", '$1'),
                   source.slug || '__live', source.key_type, source.key_column)
        INTO design_row USING source.clock, key;
    IF design_row IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT c.column_name, design_row[c.position], l.weights[c.position], design_row[c.position] * l.weights[c.position]
    FROM rescore._linear(source.linear, cardinality(design_row)) AS l
    CROSS JOIN LATERAL rescore._columns(source.contract) AS c
    UNION ALL SELECT '(intercept)', 1, l.intercept, l.intercept
    FROM rescore._linear(source.linear, cardinality(design_row)) AS l;
END
$$;
COMMENT ON FUNCTION rescore.explain(text, text) IS
    'What each column of a row''s design adds to the linear sum; with the intercept they add up to it. No rows for an unknown key; RS012 for a model that is not compiled.';

CREATE OR REPLACE FUNCTION rescore.explain(model text, key bigint)
RETURNS TABLE (feature text, value double precision, weight double precision, contribution double precision)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT e.feature, e.value, e.weight, e.contribution FROM rescore.explain(model, key::text) AS e $$;
COMMENT ON FUNCTION rescore.explain(text, bigint) IS 'What each column of a row''s design adds to the linear sum, by bigint key.';

CREATE OR REPLACE FUNCTION rescore.explain(model text, key uuid)
RETURNS TABLE (feature text, value double precision, weight double precision, contribution double precision)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT e.feature, e.value, e.weight, e.contribution FROM rescore.explain(model, key::text) AS e $$;
COMMENT ON FUNCTION rescore.explain(text, uuid) IS 'What each column of a row''s design adds to the linear sum, by uuid key.';
