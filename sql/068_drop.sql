-- What a model that is no longer defined has left: told, and deleted.
-- Calls: 010_errors, rescore._defines of 035_deployment, rescore._touch of 040_router. Tables: reads rescore.deployments,
-- rescore.profiles; deletes from every table of schema rescore that has a model, rescore.outbox excepted; writes rescore.deployment_history.

CREATE OR REPLACE FUNCTION rescore._functions_of(model text)
RETURNS regprocedure[]
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- No other model's: rescore._check_name refuses names that are too alike. An ensemble may have taken the name since.
    SELECT coalesce(array_agg(p.oid::regprocedure ORDER BY p.oid::regprocedure::text), '{}')
    FROM pg_proc AS p
    WHERE p.pronamespace = 'rescore_compiled'::regnamespace AND starts_with(p.proname, _functions_of.model)
      AND substr(p.proname, length(_functions_of.model) + 1)
          ~ '^(|(_v[0-9]+|_challenger)?(_x)?(_p[0-9]+)?|(_v[0-9]+|_challenger)?(_x)?_link|_(version|deferred|payload|challenged|served|others)|__key(_with)?)$'
      AND NOT (p.proname ~ '__key(_with)?$' AND EXISTS (SELECT FROM rescore.profiles AS f WHERE f.definition -> 'scores' -> _functions_of.model ? 'ensemble'))
$$;
COMMENT ON FUNCTION rescore._functions_of(text) IS 'The generated functions of a model and of its versions.';

CREATE OR REPLACE FUNCTION rescore._check_left(model text)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found record;
BEGIN
    SELECT p.profile, rescore._defines(p.definition, d.model) AS is_defined INTO found
    FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile WHERE d.model = _check_left.model;
    IF found.profile IS NULL THEN
        PERFORM rescore._unknown_model(model);
    ELSIF found.is_defined THEN
        RAISE EXCEPTION USING ERRCODE = 'RS020', MESSAGE = format('model %s is defined', quote_ident(model)),
            DETAIL = format('Profile %s has it; only what a removed model left is dropped.', found.profile),
            HINT = 'Take it out of the definition and run `rescore apply` first.';
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._check_left(text) IS 'Raises RS001 for an unknown model, RS020 for one that is still defined.';

CREATE OR REPLACE FUNCTION rescore._tables_of_models()
RETURNS SETOF name
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- Told by their column, so that none is passed over. What was reported of scores is for its consumers.
    SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'rescore'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND a.attname = 'model' AND a.attnum > 0 AND NOT a.attisdropped AND c.relname <> 'outbox'
    ORDER BY c.relname
$$;
COMMENT ON FUNCTION rescore._tables_of_models() IS 'The tables that hold rows of models, in the order of their names.';

CREATE OR REPLACE FUNCTION rescore.left_behind(model text)
RETURNS TABLE (place text, amount bigint, bytes bigint)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t name;
BEGIN
    PERFORM rescore._check_left(model);
    FOR t IN SELECT f.t FROM rescore._tables_of_models() AS f (t) LOOP
        place := 'rescore.' || t;
        EXECUTE format('SELECT count(*), coalesce(sum(pg_column_size(x.*)), 0) FROM rescore.%I AS x WHERE x.model = $1', t) INTO amount, bytes USING model;
        RETURN NEXT;
    END LOOP;
    RETURN QUERY SELECT 'functions of rescore_compiled', cardinality(f)::bigint, 0::bigint FROM rescore._functions_of(model) AS f;
END
$$;
COMMENT ON FUNCTION rescore.left_behind(text) IS
    'What a model that is no longer defined has left, by place: rows, or functions, and bytes as stored in rows; RS020 for one that is defined.';

CREATE OR REPLACE FUNCTION rescore.drop_model(model text, reason text DEFAULT NULL)
RETURNS TABLE (place text, amount bigint, bytes bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    champion integer;
    last integer;
    dropped jsonb := '{}';
    functions regprocedure[];
    t name;
BEGIN
    PERFORM rescore._lock();
    PERFORM rescore._check_left(model);
    SELECT d.champion, coalesce(d.champion, (SELECT max(m.version) FROM rescore.models AS m WHERE m.model = d.model)) INTO champion, last
    FROM rescore.deployments AS d WHERE d.model = drop_model.model FOR UPDATE;
    functions := rescore._functions_of(drop_model.model);
    -- First, what says which versions serve: those are not deleted. Last the versions, which others refer to. Counted as they go.
    FOR t IN SELECT f.t FROM rescore._tables_of_models() AS f (t) ORDER BY f.t = 'deployments' DESC, f.t = 'models', f.t LOOP
        EXECUTE format('WITH gone AS (DELETE FROM rescore.%I AS x WHERE x.model = $1 RETURNING pg_column_size(x.*) AS size) '
                       'SELECT count(*), coalesce(sum(size), 0) FROM gone', t) INTO amount, bytes USING drop_model.model;
        dropped := dropped || jsonb_build_object('rescore.' || t, jsonb_build_array(amount, bytes));
    END LOOP;
    IF cardinality(functions) > 0 THEN
        -- All at once: they call each other. Numbers of versions go on where they were, should the name come back.
        EXECUTE 'DROP FUNCTION ' || array_to_string(functions, ', ');
    END IF;
    dropped := dropped || jsonb_build_object('functions of rescore_compiled', jsonb_build_array(cardinality(functions), 0));
    IF last IS NOT NULL THEN
        INSERT INTO rescore.deployment_history (model, action, version, previous, reason, details)
        VALUES (drop_model.model, 'drop', last, champion, concat_ws(': ', 'the model was dropped', reason), jsonb_build_object('dropped', dropped));
    END IF;
    PERFORM rescore._touch();
    RETURN QUERY SELECT d.key, (d.value ->> 0)::bigint, (d.value ->> 1)::bigint FROM jsonb_each(dropped) AS d ORDER BY 1;
END
$$;
COMMENT ON FUNCTION rescore.drop_model(text, text) IS
    'Deletes what a model that is no longer defined has left: versions, snapshots, what was learnt, history, generated functions; one row of rescore.deployment_history says who did and what went. RS020 for a model that is defined.';
