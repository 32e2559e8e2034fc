-- Routers: one small function per model that calls the version which serves.
-- Calls: 010_errors, 020_contract, 030_compile, 035_deployment. Tables: reads rescore.deployments, rescore.models.

CREATE OR REPLACE FUNCTION rescore._score_call(model text, args text[], clock text, key text DEFAULT 'NULL')
RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    inputs jsonb := (SELECT d.inputs FROM rescore.deployments AS d WHERE d.model = _score_call.model);
    summed text;
    challenged text;
    design_row text;
BEGIN
    IF inputs IS NULL THEN
        PERFORM rescore._unknown_model(model);
    ELSIF jsonb_array_length(inputs) <> cardinality(args) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('%s arguments for model %s', cardinality(args), model),
            DETAIL = format('It takes %s.', jsonb_array_length(inputs)),
            HINT = 'Pass one expression per input, in order.';
    END IF;
    summed := rescore._call(model, '', inputs, args, clock, ' OPERATOR(pg_catalog.+) ');
    challenged := rescore._call(model, '_challenger', inputs, args, clock, ' OPERATOR(pg_catalog.+) ');
    IF jsonb_array_length(inputs) <= 90 THEN
        RETURN format('CASE WHEN rescore_compiled.%I(%s) THEN %s ELSE %s END', model || '_challenged', key, challenged, summed);
    END IF;
    design_row := rescore._call(model, '_x', inputs, args, clock, ' OPERATOR(pg_catalog.||) ');
    RETURN format('CASE WHEN rescore_compiled.%I(%s) THEN rescore_compiled.%I(%s) '
                  'WHEN rescore_compiled.%I() THEN rescore._python_score(%L, rescore_compiled.%I(), %s) '
                  'ELSE rescore_compiled.%I(%s) END',
                  model || '_challenged', key, model || '_challenger_link', challenged,
                  model || '_deferred', model, model || '_version', design_row, model || '_link', summed);
END
$$;
COMMENT ON FUNCTION rescore._score_call(text, text[], text, text) IS
    'SQL: the score by the version of a model that serves a key, given one expression per input, one for the clock and one for the key as text; by the champion where the key is NULL.';

CREATE OR REPLACE FUNCTION rescore._wanted_routers(model text, inputs jsonb)
RETURNS TABLE (name text, arguments text[], types text[], suffix text, role text)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH p AS (SELECT *, count(*) OVER () > 1 AS is_split FROM rescore._parts(inputs)),
         r (role, named) AS (VALUES ('champion', ''), ('challenger', '_challenger'))
    SELECT model || r.named || s.suffix || CASE WHEN p.is_split THEN format('_p%s', p.part) ELSE '' END,
           p.names || 'rescore_clock'::text, p.types || 'timestamp with time zone'::text, s.suffix, r.role
    FROM p CROSS JOIN r CROSS JOIN (VALUES (''), ('_x')) AS s (suffix)
    UNION ALL SELECT model || r.named || '_link', '{z}', '{double precision}', '_link', r.role
              FROM p CROSS JOIN r WHERE p.is_split AND p.part = 1
    -- Scores beside the served one are of whole rows: a function takes no more than 100 arguments.
    UNION ALL SELECT model || '_others', p.names || 'rescore_clock'::text, p.types || 'timestamp with time zone'::text, '_others', 'champion'
              FROM p WHERE NOT p.is_split
    UNION ALL SELECT model || f.suffix, f.arguments, f.types, f.suffix, 'champion'
              FROM (VALUES ('_version', '{}'::text[], '{}'::text[]), ('_deferred', '{}', '{}'),
                           ('_challenged', '{key}', '{text}'), ('_served', '{key}', '{text}'),
                           ('_payload', '{features,rescore_clock,rescore_key}', '{jsonb,timestamp with time zone,text}'))
                   AS f (suffix, arguments, types)
$$;
COMMENT ON FUNCTION rescore._wanted_routers(text, jsonb) IS 'The routers a model should have, with their arguments, and whose version they call.';

CREATE OR REPLACE FUNCTION rescore._drop_routers(model text, inputs jsonb)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    old regprocedure;
BEGIN
    -- Names of arguments count too: CREATE OR REPLACE refuses to change them.
    FOR old IN
        SELECT p.oid::regprocedure FROM pg_proc AS p
        WHERE p.pronamespace = 'rescore_compiled'::regnamespace
          AND (p.proname = _drop_routers.model
               OR (starts_with(p.proname, _drop_routers.model)
                   AND substr(p.proname, length(_drop_routers.model) + 1) ~ '^(_challenger)?(_x)?(_p[0-9]+)?$|^(_challenger)?_link$|^_(version|deferred|payload|challenged|served|others)$'))
          AND NOT EXISTS (
              SELECT FROM rescore._wanted_routers(_drop_routers.model, inputs) AS w
              WHERE w.name = p.proname AND w.arguments = coalesce(p.proargnames, '{}')
                AND w.types = ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS u (t, n) ORDER BY n))
    LOOP
        EXECUTE format('DROP FUNCTION %s', old);
    END LOOP;
END
$$;
COMMENT ON FUNCTION rescore._drop_routers(text, jsonb) IS 'Drops the routers of a model whose arguments are no longer those.';

CREATE OR REPLACE FUNCTION rescore._router_body(model text, champion rescore.models, inputs jsonb, suffix text, arguments text[])
RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
DECLARE
    taken jsonb := champion.contract -> 'inputs';
    args text[] := ARRAY(SELECT format('%I', i ->> 'name') FROM jsonb_array_elements(taken) WITH ORDINALITY AS t (i, n) ORDER BY n);
    is_split boolean := jsonb_array_length(inputs) > 90;
    form record;
BEGIN
    IF suffix = '_version' THEN
        RETURN coalesce(champion.version::text, 'NULL::integer');
    ELSIF suffix = '_deferred' THEN
        RETURN coalesce(champion.engine = 'python', false)::text;
    ELSIF champion.version IS NULL OR (is_split AND champion.engine = 'python' AND suffix <> '_x') THEN
        -- Scores of split models by Python come from the joined design rows: see _score_call.
        RETURN CASE WHEN suffix = '_x' THEN 'NULL::double precision[]' ELSE 'NULL::double precision' END;
    ELSIF NOT is_split THEN
        RETURN CASE WHEN suffix = '_x' THEN rescore._version_row_call(model, champion.version, taken, args, 'rescore_clock')
                    WHEN champion.engine = 'compiled' THEN rescore._version_call(model, champion.version, taken, args, 'rescore_clock')
                    ELSE format('rescore._python_score(%L, %s, %s)', model, champion.version,
                                rescore._version_row_call(model, champion.version, taken, args, 'rescore_clock')) END;
    ELSIF suffix = '_x' THEN
        RETURN (SELECT coalesce(format('ARRAY[%s]::float8[]', string_agg(c.expression, ', ' ORDER BY c.position)), '''{}''::float8[]')
                FROM rescore._columns(champion.contract) AS c WHERE c.input = ANY (arguments));
    END IF;
    -- The version may be split at other places than the router: the part's own sum is written out.
    SELECT * INTO form FROM rescore._linear(champion.linear, jsonb_array_length(champion.linear -> 'weights'));
    RETURN CASE WHEN suffix = '_link' THEN rescore._link(form.link, format('%L::float8 + z', form.intercept))
                ELSE rescore._sum(champion.contract, champion.linear, arguments, 0) END;
END
$$;
COMMENT ON FUNCTION rescore._router_body(text, rescore.models, jsonb, text, text[]) IS
    'SQL: what a router returns while this version serves.';

CREATE OR REPLACE FUNCTION rescore._traffic_body(deployment rescore.deployments, suffix text)
RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
DECLARE
    -- Written out, and the key stands once: a call would not be inlined. Keep equal to rescore.share.
    share text := format('(''x'' || left(encode(sha256(convert_to(%L || key, ''UTF8'')), ''hex''), 13))::bit(52)::int8::float8 / ''4503599627370496''::float8',
                         format('challenger %s %s:', deployment.model, deployment.challenger));
BEGIN
    IF suffix = '_challenged' THEN
        RETURN CASE WHEN deployment.challenger IS NULL THEN 'false' ELSE format('%s < %L::float8', share, deployment.challenger_share) END;
    ELSIF suffix = '_served' THEN
        RETURN CASE WHEN deployment.challenger IS NULL THEN coalesce(deployment.champion::text, 'NULL::integer')
                    ELSE format('CASE WHEN %s < %L::float8 THEN %s ELSE %s END',
                                share, deployment.challenger_share, deployment.challenger, deployment.champion) END;
    END IF;
    RETURN (SELECT CASE WHEN count(*) FILTER (WHERE m.version <> deployment.champion) = 0 THEN 'NULL::jsonb'
                        ELSE format('jsonb_build_object(%s)', string_agg(format('%L, %s', m.version::text, rescore._beside(m)), ', ' ORDER BY m.version)) END
            FROM rescore.models AS m WHERE m.model = deployment.model AND m.version = ANY (rescore._scoring(deployment)));
END
$$;
COMMENT ON FUNCTION rescore._traffic_body(rescore.deployments, text) IS
    'SQL: what the routers return that tell which version serves a key, and what other versions say.';

CREATE OR REPLACE FUNCTION rescore._scoring(deployment rescore.deployments)
RETURNS integer[]
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- The one that served before is scored beside the champion only where a rule may roll back to it.
    SELECT array_remove(ARRAY[deployment.champion, deployment.challenger] || deployment.shadows
                        || CASE WHEN deployment.spec #> '{traffic,rollback}' <> 'null' THEN deployment.predecessor END, NULL)
$$;
COMMENT ON FUNCTION rescore._scoring(rescore.deployments) IS 'The versions that score a row when a snapshot is taken: champion, challenger, shadows, and a predecessor under a rule.';

CREATE OR REPLACE FUNCTION rescore._beside(version rescore.models)
RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    taken jsonb := version.contract -> 'inputs';
    args text[] := ARRAY(SELECT format('%I', i ->> 'name') FROM jsonb_array_elements(taken) WITH ORDINALITY AS t (i, n) ORDER BY n);
BEGIN
    RETURN CASE WHEN version.engine = 'compiled' THEN rescore._version_call(version.model, version.version, taken, args, 'rescore_clock')
                ELSE format('rescore._python_score(%L, %s, %s)', version.model, version.version,
                            rescore._version_row_call(version.model, version.version, taken, args, 'rescore_clock')) END;
END
$$;
COMMENT ON FUNCTION rescore._beside(rescore.models) IS 'SQL: the score by one version, in a function that takes the inputs of its model.';

-- No SET: names are bound when they are made, and only so are they inlined.
CREATE OR REPLACE FUNCTION rescore._finite(number double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(number) < 'Infinity' THEN CASE WHEN abs(number) >= 1e-100 THEN greatest(least(number, 1e100), -1e100) ELSE 0 END END;
COMMENT ON FUNCTION rescore._finite(double precision) IS
    'A number as models see it: NULL when it is NaN or infinite, at most 1e100 in magnitude, 0 below 1e-100.';

CREATE OR REPLACE FUNCTION rescore._finite(number numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(number) < 'Infinity' THEN CASE WHEN abs(number) >= 1e-100 THEN greatest(least(number, 1e100), -1e100) ELSE 0 END END;
COMMENT ON FUNCTION rescore._finite(numeric) IS
    'A number as models see it: NULL when it is NaN or infinite, at most 1e100 in magnitude, 0 below 1e-100.';

CREATE OR REPLACE FUNCTION rescore._finite(moment timestamptz)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN isfinite(moment) THEN moment END;
COMMENT ON FUNCTION rescore._finite(timestamptz) IS 'A moment as models see it: NULL when it is infinite.';

CREATE OR REPLACE FUNCTION rescore._define_payload(model text, inputs jsonb)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    taken text := (SELECT string_agg(format('%I %s', i ->> 'name', rescore._argument_type(i ->> 'type', i ->> 'kind')), ', ' ORDER BY n)
                   FROM jsonb_array_elements(inputs) WITH ORDINALITY AS t (i, n));
    -- The compiled scorer expects no NULL where the table has none; a payload may lack anything.
    -- Nor what no column kept by rescore holds, such as NaN.
    args text[] := ARRAY(SELECT format(replace(CASE WHEN i ->> 'nullable' = 'false' AND i ->> 'kind' = 'number'
                                                    THEN 'coalesce(@, %2$L::%3$s)' ELSE '@' END, '@',
                                               CASE WHEN i ->> 'bounded' = 'true' AND rescore._argument_type(i ->> 'type', i ->> 'kind') IN
                                                         ('double precision', 'numeric', 'timestamp with time zone')
                                                    THEN 'rescore._finite(r.%1$I)' ELSE 'r.%1$I' END),
                                       i ->> 'name', CASE WHEN i ->> 'type' LIKE 'bool%' THEN (i ->> 'default')::numeric::integer::boolean::text
                                                          WHEN i ->> 'type' ~ 'int' THEN round((i ->> 'default')::numeric)::text
                                                          ELSE i ->> 'default' END,
                                       rescore._argument_type(i ->> 'type', i ->> 'kind'))
                         FROM jsonb_array_elements(inputs) WITH ORDINALITY AS t (i, n) ORDER BY n);
    is_defined boolean := (SELECT rescore._defines(p.definition, d.model) FROM rescore.deployments AS d
                           JOIN rescore.profiles AS p ON p.profile = d.profile WHERE d.model = _define_payload.model);
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION rescore_compiled.%I(features jsonb, rescore_clock timestamptz, rescore_key text DEFAULT NULL) '
                   'RETURNS double precision LANGUAGE plpgsql STABLE %s SET search_path = pg_catalog, pg_temp AS %L',
                   model || '_payload', rescore._parallel(model),
                   CASE WHEN NOT is_defined THEN format(E'BEGIN\n    RETURN rescore._unknown_model(%L);\nEND', model) ELSE
                   format(E'DECLARE\n    inputs CONSTANT jsonb := %L;\nBEGIN\n'
                          '    PERFORM rescore._check_payload(%L, inputs, features);\n    RETURN (SELECT %s FROM %s);\nEND',
                          inputs, model, rescore._score_call(model, args, 'rescore._finite(rescore_clock)', 'rescore_key'),
                          coalesce(format('jsonb_to_record(coalesce(features, ''{}'')) AS r (%s)', taken), '(VALUES (1)) AS r (n)')) END);
    EXECUTE format('COMMENT ON FUNCTION rescore_compiled.%I(jsonb, timestamptz, text) IS %L',
                   model || '_payload', format('Score of a payload by the version of model %s that serves the key; by the champion where it is NULL.', model));
END
$$;
COMMENT ON FUNCTION rescore._define_payload(text, jsonb) IS
    'Creates the function that checks a payload, casts it and scores it; of a model that is no longer defined, one that says so.';

CREATE OR REPLACE FUNCTION rescore._parallel(model text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    -- Python in the server opens subtransactions, which parallel queries forbid.
    SELECT CASE WHEN EXISTS (SELECT FROM rescore.deployments AS d JOIN rescore.models AS m
                             ON m.model = d.model AND m.version = d.champion
                             WHERE d.model = _parallel.model AND m.engine = 'python')
                THEN 'PARALLEL UNSAFE' ELSE 'PARALLEL SAFE' END
$$;
COMMENT ON FUNCTION rescore._parallel(text) IS 'How parallel a model''s routers are.';

CREATE OR REPLACE FUNCTION rescore._create_router(model text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deployment rescore.deployments;
    champion rescore.models;
    challenger rescore.models;
    router record;
BEGIN
    PERFORM rescore._lock();
    SELECT * INTO deployment FROM rescore.deployments AS d WHERE d.model = _create_router.model;
    IF deployment.model IS NULL THEN
        PERFORM rescore._unknown_model(model);
    END IF;
    PERFORM rescore._check_name(model);
    -- Not IF NOT EXISTS, which tells every publisher that it exists.
    IF to_regclass(format('rescore_compiled.%I', model || '_version_seq')) IS NULL THEN
        EXECUTE format('CREATE SEQUENCE rescore_compiled.%I AS integer', model || '_version_seq');
    END IF;
    EXECUTE format('COMMENT ON SEQUENCE rescore_compiled.%I IS %L', model || '_version_seq', format('Version numbers of model %s.', model));
    SELECT * INTO champion FROM rescore.models AS m WHERE m.model = deployment.model AND m.version = deployment.champion;
    IF champion.version IS NOT NULL THEN
        PERFORM rescore._check_contract(model, champion.contract, deployment.inputs);
        PERFORM rescore._check_order(model, champion, deployment.inputs);
    END IF;
    SELECT * INTO challenger FROM rescore.models AS m WHERE m.model = deployment.model AND m.version = deployment.challenger;
    IF challenger.version IS NOT NULL THEN
        PERFORM rescore._check_contract(model, challenger.contract, deployment.inputs);
        PERFORM rescore._check_order(model, challenger, deployment.inputs);
    END IF;
    PERFORM rescore._drop_routers(model, deployment.inputs);
    FOR router IN SELECT * FROM rescore._wanted_routers(model, deployment.inputs) AS w WHERE w.suffix <> '_payload' LOOP
        PERFORM rescore._define(router.name, router.arguments, router.types,
            rescore._router_type(router.suffix),
            'STABLE ' || CASE router.suffix WHEN '_others' THEN 'PARALLEL UNSAFE' ELSE rescore._parallel(model) END,
            CASE WHEN router.suffix IN ('_challenged', '_served', '_others') THEN rescore._traffic_body(deployment, router.suffix)
                 ELSE rescore._router_body(model, CASE router.role WHEN 'challenger' THEN challenger ELSE champion END,
                                           deployment.inputs, router.suffix, router.arguments) END,
            rescore._about_router(model, router.suffix, router.role));
    END LOOP;
    PERFORM rescore._define_payload(model, deployment.inputs);
    -- All at once: to find out what is to be granted takes longer than to define one.
    PERFORM rescore._grant(ARRAY(SELECT f.oid FROM pg_proc AS f JOIN rescore._wanted_routers(model, deployment.inputs) AS w ON w.name = f.proname
                                 WHERE f.pronamespace = 'rescore_compiled'::regnamespace));
END
$$;
COMMENT ON FUNCTION rescore._create_router(text) IS
    'Creates or replaces the functions of a model that call its serving version; NULL while none serves.';

CREATE OR REPLACE FUNCTION rescore._router_type(suffix text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN suffix = '_x' THEN 'double precision[]' WHEN suffix IN ('_version', '_served') THEN 'integer'
                WHEN suffix IN ('_deferred', '_challenged') THEN 'boolean' WHEN suffix = '_others' THEN 'jsonb'
                ELSE 'double precision' END
$$;
COMMENT ON FUNCTION rescore._router_type(text) IS 'The type of what a router returns.';

CREATE OR REPLACE FUNCTION rescore._about_router(model text, suffix text, role text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(CASE suffix
        WHEN '_x' THEN 'Design row for the %2$s of model %1$s; NULL while there is none.'
        WHEN '_version' THEN 'The champion of model %s; NULL while none serves.'
        WHEN '_deferred' THEN 'Whether the champion of model %s is scored by Python, in batches.'
        WHEN '_challenged' THEN 'Whether the challenger of model %s serves this key.'
        WHEN '_served' THEN 'The version of model %s that serves this key; NULL while none does.'
        WHEN '_others' THEN 'Scores of a row by every version of model %s that scores it, by number; NULL when the champion is alone.'
        WHEN '_link' THEN 'Score of the partial sums of the %2$s of model %1$s.'
        ELSE 'Score by the %2$s of model %1$s, or its part of the sum; NULL while there is none.' END, model, role)
$$;
COMMENT ON FUNCTION rescore._about_router(text, text, text) IS 'The comment of a router.';

CREATE OR REPLACE FUNCTION rescore._touch()
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    touched regprocedure;
    -- Python in the server opens subtransactions, which parallel queries forbid.
    parallel text := CASE WHEN EXISTS (SELECT FROM rescore.deployments AS d JOIN rescore.models AS m
                                       ON m.model = d.model AND m.version = d.champion WHERE m.engine = 'python')
                          THEN 'UNSAFE' ELSE 'SAFE' END;
BEGIN
    PERFORM rescore._lock();
    -- A plan that a session is making at this moment is not in its cache yet: replacing the router
    -- alone would miss it. What its query names directly must change too; routers themselves do.
    FOR touched IN
        SELECT p.oid::regprocedure FROM pg_proc AS p
        WHERE p.pronamespace = 'rescore'::regnamespace AND p.proname IN ('predict', 'predict_key', 'predict_payload')
          AND pg_has_role(current_user, p.proowner, 'USAGE')
    LOOP
        EXECUTE format('ALTER FUNCTION %s COST 100 PARALLEL %s', touched, parallel);
    END LOOP;
END
$$;
COMMENT ON FUNCTION rescore._touch() IS
    'Rewrites every function a user''s query names directly, so that no session keeps a plan of the old version; says whether they may run in parallel queries.';
