-- What publishers call: publish, publish_linear, promote, rollback.
-- Calls: 010_errors, 040_router, 050_register (_check_signature among them), and _prove and _artefact_contract of 090_python where
-- there is PL/Python. Tables: reads rescore.deployments, rescore.deployment_history; see 050_register.

CREATE OR REPLACE FUNCTION rescore._limit(what text)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE what WHEN 'bytes' THEN 67108864 WHEN 'design columns' THEN 10000 WHEN 'probes' THEN 1000 END
$$;
COMMENT ON FUNCTION rescore._limit(text) IS
    'The most of something that an artefact may have: those limits of rescore.plpython.limits that hold without PL/Python too.';

CREATE OR REPLACE FUNCTION rescore._check_limit(what text, value integer)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF value > rescore._limit(what) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS002', MESSAGE = format('artefact has %s %s, more than %s', value, what, rescore._limit(what)),
            HINT = 'Publish a smaller model.';
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._check_limit(text, integer) IS 'Raises RS002, naming limit and value, when there is too much of something.';

CREATE OR REPLACE FUNCTION rescore._check_artefact(artifact bytea, sha256 text, format text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    digest text := encode(pg_catalog.sha256(artifact), 'hex');
BEGIN
    PERFORM rescore._check_limit('bytes', octet_length(artifact));
    IF coalesce(octet_length(artifact), 0) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'RS002', MESSAGE = 'the artefact is empty',
            HINT = 'Pass the content of a .joblib, .pkl or .skops file.';
    ELSIF coalesce(format, '') NOT IN ('joblib', 'pickle', 'skops') THEN
        RAISE EXCEPTION USING ERRCODE = 'RS002', MESSAGE = pg_catalog.format('unknown format %s', coalesce(format, 'NULL')),
            DETAIL = 'Formats are joblib, pickle and skops.',
            HINT = 'Name the format of the file.';
    ELSIF digest IS DISTINCT FROM lower(sha256) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS002', MESSAGE = pg_catalog.format('the artefact''s SHA-256 is %s', digest),
            DETAIL = pg_catalog.format('Expected %s.', sha256),
            HINT = 'Send the file again.';
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._check_artefact(bytea, text, text) IS
    'Raises RS002 when an artefact is empty, of an unknown format, or not what its digest says.';

CREATE OR REPLACE FUNCTION rescore.publish_linear(
    model text, artifact bytea, sha256 text, linear jsonb, contract jsonb, probes jsonb, expected double precision[],
    metrics jsonb DEFAULT '{}', format text DEFAULT 'joblib', library_versions jsonb DEFAULT '{}', parent integer DEFAULT NULL,
    candidate boolean DEFAULT false, reason text DEFAULT NULL, clock timestamptz DEFAULT '2026-01-01 00:00:00+00',
    signature bytea DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    given rescore.models;
    deployment rescore.deployments := rescore._deployment(model);
BEGIN
    IF linear IS NULL OR deployment.engine = 'python' THEN
        PERFORM rescore._require_python(pg_catalog.format('publish model %s', model));
    END IF;
    PERFORM rescore._check_artefact(artifact, sha256, format);
    PERFORM rescore._check_limit('design columns', jsonb_array_length(jsonb_path_query_array(linear, '$.weights[*]')));
    PERFORM rescore._check_limit('probes', cardinality(expected));
    given.model := model;
    given.artifact := artifact;
    given.format := format;
    given.sha256 := lower(sha256);
    given.linear := linear;
    given.contract := contract;
    given.metrics := metrics;
    given.library_versions := library_versions;
    given.parent := parent;
    given.signature := signature;
    RETURN rescore._register_version(given, probes, expected, clock, candidate, reason);
END
$$;
COMMENT ON FUNCTION rescore.publish_linear(text, bytea, text, jsonb, jsonb, jsonb, double precision[], jsonb, text, jsonb, integer, boolean, text, timestamptz, bytea) IS
    'Publishes a linear model folded and proven by the caller: numbers only, never SQL. Needs no PL/Python. Returns the version.';

CREATE OR REPLACE FUNCTION rescore._require_python(purpose text)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_regproc('rescore._prove') IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS007', MESSAGE = format('this database has no PL/Python to %s with', purpose),
            DETAIL = 'rescore was installed without its functions in plpython3u.',
            HINT = 'Install the plpython3 package of PostgreSQL and run `rescore install` as a superuser; linear models need neither: use rescore.publish_linear or `rescore publish`.';
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._require_python(text) IS 'Raises RS007 when rescore is installed without PL/Python.';

CREATE OR REPLACE FUNCTION rescore._frozen_contract(contract jsonb, inputs jsonb, artifact bytea, format text)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF contract IS NOT NULL THEN
        RETURN contract;
    END IF;
    -- What is retired is read by the serving version only.
    inputs := jsonb_path_query_array(inputs, '$[*] ? (!(exists(@.retired)))');
    IF jsonb_path_exists(inputs, '$[*].top') OR jsonb_path_exists(inputs, '$[*].categories.top') THEN
        RETURN rescore._artefact_contract(artifact, format, inputs);
    END IF;
    RETURN jsonb_build_object('inputs', inputs);
END
$$;
COMMENT ON FUNCTION rescore._frozen_contract(jsonb, jsonb, bytea, text) IS
    'The contract given, or the deployment''s, its open categories told by the artefact''s column names.';

CREATE OR REPLACE FUNCTION rescore.publish(
    model text, artifact bytea, contract jsonb DEFAULT NULL, metrics jsonb DEFAULT '{}', format text DEFAULT 'joblib',
    expected double precision[] DEFAULT NULL, parent integer DEFAULT NULL, candidate boolean DEFAULT false, reason text DEFAULT NULL,
    linear jsonb DEFAULT NULL, signature bytea DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    given rescore.models;
    -- Not locked yet: to import scikit-learn and to prove takes longer than all the rest. What is recorded is checked again.
    inputs jsonb := (SELECT d.inputs FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
                     WHERE d.model = publish.model AND rescore._defines(p.definition, d.model));
    proof jsonb;
BEGIN
    IF inputs IS NULL THEN
        PERFORM rescore._unknown_model(model);
    END IF;
    PERFORM rescore._require_python(pg_catalog.format('prove model %s', model));
    given.sha256 := encode(pg_catalog.sha256(artifact), 'hex');
    PERFORM rescore._check_artefact(artifact, given.sha256, format);
    PERFORM rescore._check_limit('probes', cardinality(expected));
    given.model := model;
    given.artifact := artifact;
    given.format := format;
    given.contract := contract;
    given.linear := linear;
    given.signature := signature;
    -- Before the file is read: where keys are registered, nobody else's reaches the unpickler.
    given.signed_by := rescore._check_signature(given);
    given.contract := rescore._frozen_contract(contract, inputs, artifact, format);
    PERFORM rescore._check_contract(model, given.contract, inputs);
    proof := rescore._prove(artifact, format, given.contract, coalesce(cardinality(expected), 200), expected);
    -- What was signed is what is recorded; that it scores as the artefact does is proven below.
    IF given.signed_by IS NULL OR (given.linear IS NULL) <> (proof -> 'linear' = 'null') THEN
        given.linear := nullif(proof -> 'linear', 'null');
    END IF;
    given.metrics := metrics;
    given.library_versions := proof -> 'library_versions';
    given.parent := parent;
    RETURN rescore._register_version(given, proof -> 'probes',
        ARRAY(SELECT e.v::double precision FROM jsonb_array_elements_text(proof -> 'expected') WITH ORDINALITY AS e (v, n) ORDER BY e.n),
        (proof ->> 'clock')::timestamptz, candidate, reason);
END
$$;
COMMENT ON FUNCTION rescore.publish(text, bytea, jsonb, jsonb, text, double precision[], integer, boolean, text, jsonb, bytea) IS
    'Loads an artefact through the allow-list, proves it on probes (and against the caller''s own scores of them), records it and lets it serve from this commit on; candidate only records it. linear is the form that was signed. Returns the version.';

CREATE OR REPLACE FUNCTION rescore.promote(model text, version integer, reason text DEFAULT NULL, details jsonb DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deployment rescore.deployments := rescore._deployment(model);
BEGIN
    PERFORM rescore._check_version(model, version);
    IF deployment.champion IS DISTINCT FROM version THEN
        PERFORM rescore._serve(model, version, 'promote', reason, details);
    END IF;
    RETURN version;
END
$$;
COMMENT ON FUNCTION rescore.promote(text, integer, text, jsonb) IS 'Lets a recorded version serve from this commit on; does nothing when it does.';

CREATE OR REPLACE FUNCTION rescore._served(model text)
RETURNS integer[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stack integer[] := '{}';
    switch record;
BEGIN
    FOR switch IN SELECT h.action, h.version FROM rescore.deployment_history AS h
                  WHERE h.model = _served.model AND h.action IN ('publish', 'promote', 'rollback') ORDER BY h.id LOOP
        IF switch.action = 'rollback' THEN
            WHILE cardinality(stack) > 0 AND stack[cardinality(stack)] <> switch.version LOOP
                stack := stack[1:cardinality(stack) - 1];
            END LOOP;
        ELSE
            stack := stack || switch.version;
        END IF;
    END LOOP;
    RETURN stack;
END
$$;
COMMENT ON FUNCTION rescore._served(text) IS
    'The versions that served and were not rolled back, the serving one last: what rolling back goes through.';

CREATE OR REPLACE FUNCTION rescore.rollback(model text, version integer DEFAULT NULL, reason text DEFAULT NULL, details jsonb DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deployment rescore.deployments := rescore._deployment(model);
    served integer[] := rescore._served(model);
    earlier integer[] := array_remove(served[1:cardinality(served) - 1], deployment.champion);
    target integer := coalesce(version, earlier[cardinality(earlier)]);
BEGIN
    IF version IS NOT NULL THEN
        PERFORM rescore._check_version(model, version);
    END IF;
    IF target IS NULL OR NOT target = ANY (earlier) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS010', MESSAGE = CASE WHEN version IS NULL THEN format('model %s has no earlier version to roll back to', model) ELSE format('version %s of model %s did not serve before', version, model) END,
            DETAIL = format('Served before: %s.', rescore._listed(earlier::text[])),
            HINT = 'Use rescore.promote to let any recorded version serve.';
    END IF;
    PERFORM rescore._serve(model, target, 'rollback', reason, details);
    RETURN target;
END
$$;
COMMENT ON FUNCTION rescore.rollback(text, integer, text, jsonb) IS
    'Lets the version that served before serve again, or an earlier one by number; twice goes back twice. Returns the version.';

-- Whoever may publish decides what everybody's rows score: granted by name, never to all.
REVOKE EXECUTE ON FUNCTION rescore.publish(text, bytea, jsonb, jsonb, text, double precision[], integer, boolean, text, jsonb, bytea) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore.publish_linear(text, bytea, text, jsonb, jsonb, jsonb, double precision[], jsonb, text, jsonb, integer, boolean, text, timestamptz, bytea) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore.promote(text, integer, text, jsonb) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore.rollback(text, integer, text, jsonb) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore._create_router(text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore._touch() FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore._incident(text, text, integer, text, text, text) FROM PUBLIC;
