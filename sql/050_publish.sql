-- From numbers to a serving version: record, compile, prove, switch; and back.
-- Calls: 010_errors, 020_contract, 030_compile, 040_router, and _prove and _artefact_contract of
-- 090_python where there is PL/Python. Tables: reads and writes rescore.models,
-- rescore.deployments, rescore.deployment_history.

CREATE OR REPLACE FUNCTION rescore._refuse_change()
RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'RS016', MESSAGE = format('version %s of model %s cannot be changed', OLD.version, OLD.model),
        DETAIL = 'Versions are immutable, and the serving one stays.',
        HINT = 'Publish a new version, or roll back first.';
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION rescore._refuse_change() IS 'Refuses to change what a model version is.';

CREATE OR REPLACE FUNCTION rescore._is_serving(model text, version integer)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM rescore.deployments AS d
                   WHERE d.model = _is_serving.model AND d.champion = _is_serving.version)
$$;
COMMENT ON FUNCTION rescore._is_serving(text, integer) IS 'Whether a version is its model''s champion.';

CREATE OR REPLACE TRIGGER immutable
    BEFORE UPDATE OF model, version, artifact, format, sha256, engine, linear, contract ON rescore.models
    FOR EACH ROW EXECUTE FUNCTION rescore._refuse_change();
COMMENT ON TRIGGER immutable ON rescore.models IS 'A version never changes: routers, caches and proofs rely on it.';

CREATE OR REPLACE TRIGGER serving
    BEFORE DELETE ON rescore.models
    FOR EACH ROW WHEN (rescore._is_serving(OLD.model, OLD.version)) EXECUTE FUNCTION rescore._refuse_change();
COMMENT ON TRIGGER serving ON rescore.models IS 'The version that serves is not deleted.';

CREATE OR REPLACE FUNCTION rescore._deployment(model text)
RETURNS rescore.deployments
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found rescore.deployments;
BEGIN
    PERFORM rescore._lock();
    SELECT * INTO found FROM rescore.deployments AS d WHERE d.model = _deployment.model FOR UPDATE;
    IF found.model IS NULL THEN
        PERFORM rescore._unknown_model(model);
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION rescore._deployment(text) IS 'The row of a model, locked against all other publishers; RS001 when there is none.';

CREATE OR REPLACE FUNCTION rescore._check_version(model text, version integer)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known text[] := ARRAY(SELECT m.version::text FROM rescore.models AS m WHERE m.model = _check_version.model ORDER BY m.version DESC);
BEGIN
    IF NOT coalesce(version::text = ANY (known), false) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS006', MESSAGE = format('model %s has no version %s', model, coalesce(version::text, 'NULL')),
            DETAIL = format('Its versions: %s.', rescore._listed(known)),
            HINT = 'Name one of these.';
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._check_version(text, integer) IS 'Raises RS006 when a model has no such version.';

CREATE OR REPLACE FUNCTION rescore._serve(model text, version integer, action text, reason text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before integer := (SELECT d.champion FROM rescore.deployments AS d WHERE d.model = _serve.model);
BEGIN
    INSERT INTO rescore.deployment_history (model, action, version, previous, reason)
    VALUES (model, action, version, before, reason);
    IF action <> 'candidate' THEN
        UPDATE rescore.deployments AS d SET champion = _serve.version, updated_at = now() WHERE d.model = _serve.model;
        PERFORM rescore._create_router(model);
        PERFORM rescore._touch();
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._serve(text, integer, text, text) IS
    'Writes the history and, unless it is a candidate, lets the version serve.';

CREATE OR REPLACE FUNCTION rescore._compare_scores(who text, probes jsonb, scores double precision[], expected double precision[])
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
DECLARE
    worst record;
BEGIN
    SELECT n, f, e, abs(f - e) / greatest(abs(e), 1) AS excess INTO worst
    FROM unnest(scores, expected) WITH ORDINALITY AS s (f, e, n)
    -- NaN sorts above all numbers, and NULL first: neither passes.
    ORDER BY abs(f - e) / greatest(abs(e), 1) DESC NULLS FIRST LIMIT 1;
    IF NOT coalesce(worst.excess <= 1e-9, false) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS003', MESSAGE = format('%s scores %s, the artefact %s', who, coalesce(worst.f::text, 'NULL'), coalesce(worst.e::text, 'NULL')),
            DETAIL = format('Probe %s: %s.', worst.n, left((probes -> (worst.n::integer - 1))::text, 500)),
            HINT = 'Publish with the same version of rescore and scikit-learn as the server''s.';
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._compare_scores(text, jsonb, double precision[], double precision[]) IS
    'Raises RS003, naming the worst probe, when scores differ by more than 1e-9 (relative above 1).';

CREATE OR REPLACE FUNCTION rescore._probe_rows(contract jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('ROWS FROM (jsonb_to_recordset($1) AS (%s)) WITH ORDINALITY AS r (%s)',
                  string_agg(format('%I %s', i ->> 'name', i ->> 'type'), ', ' ORDER BY n),
                  string_agg(format('%I', i ->> 'name'), ', ' ORDER BY n) || ', rescore_row')
    FROM jsonb_array_elements(contract -> 'inputs') WITH ORDINALITY AS t (i, n)
$$;
COMMENT ON FUNCTION rescore._probe_rows(jsonb) IS 'SQL: probes cast to the types of the inputs, numbered.';

CREATE OR REPLACE FUNCTION rescore._prove_version(model text, version integer, probes jsonb, expected double precision[], clock timestamptz)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v rescore.models := (SELECT m FROM rescore.models AS m WHERE m.model = _prove_version.model AND m.version = _prove_version.version);
    inputs jsonb := v.contract -> 'inputs';
    args text[] := ARRAY(SELECT format('r.%I', i ->> 'name') FROM jsonb_array_elements(inputs) WITH ORDINALITY AS t (i, n) ORDER BY n);
    scores double precision[];
BEGIN
    IF jsonb_typeof(probes) IS DISTINCT FROM 'array' OR jsonb_array_length(probes) NOT BETWEEN 1 AND 10000
       OR jsonb_array_length(probes) <> coalesce(cardinality(expected), 0) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS003', MESSAGE = format('%s scores for %s probes', coalesce(cardinality(expected), 0), CASE jsonb_typeof(probes) WHEN 'array' THEN jsonb_array_length(probes) END),
            DETAIL = 'Expected 1 to 10000 payloads and a score of each.',
            HINT = 'Publish with `rescore publish`.';
    ELSIF EXISTS (SELECT FROM unnest(expected) AS e WHERE NOT coalesce(abs(e) < 'Infinity', false)) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS005', MESSAGE = 'an expected score is NULL, NaN or infinite',
            HINT = 'Train anew.';
    END IF;
    IF v.linear IS NOT NULL THEN
        EXECUTE format('SELECT array_agg(%s ORDER BY r.rescore_row) FROM %s',
                       rescore._version_call(model, version, inputs, args, '$2'), rescore._probe_rows(v.contract))
            INTO scores USING probes, clock;
        PERFORM rescore._compare_scores('the compiled function', probes, scores, expected);
    END IF;
    IF v.engine = 'python' THEN
        EXECUTE format('SELECT rescore._python_scores($3, $4, array_agg(u.x ORDER BY r.rescore_row, u.n), '
                       '(count(*) / count(DISTINCT r.rescore_row))::integer) '
                       'FROM %s CROSS JOIN LATERAL unnest(%s) WITH ORDINALITY AS u (x, n)',
                       rescore._probe_rows(v.contract), rescore._version_row_call(model, version, inputs, args, '$2'))
            INTO scores USING probes, clock, model, version;
        PERFORM rescore._compare_scores('the server''s Python', probes, scores, expected);
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._prove_version(text, integer, jsonb, double precision[], timestamptz) IS
    'Raises RS003 when a recorded version does not score the probes as expected, through the casts of real calls.';

CREATE OR REPLACE FUNCTION rescore._register_version(given rescore.models, probes jsonb, expected double precision[], clock timestamptz, candidate boolean, reason text)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deployment rescore.deployments := rescore._deployment(given.model);
BEGIN
    PERFORM rescore._check_contract(given.model, given.contract, deployment.inputs);
    IF given.parent IS NOT NULL THEN
        PERFORM rescore._check_version(given.model, given.parent);
    END IF;
    given.version := nextval(format('rescore_compiled.%I', given.model || '_version_seq')::regclass);
    given.engine := CASE WHEN given.linear IS NULL OR deployment.engine = 'python' THEN 'python' ELSE 'compiled' END;
    INSERT INTO rescore.models (model, version, artifact, format, sha256, engine, linear, contract, metrics, library_versions, parent)
    VALUES (given.model, given.version, given.artifact, given.format, given.sha256, given.engine, given.linear,
            given.contract, coalesce(given.metrics, '{}'), coalesce(given.library_versions, '{}'), given.parent);
    PERFORM rescore._compile(given.model, given.version, given.contract, given.linear);
    PERFORM rescore._prove_version(given.model, given.version, probes, expected, clock);
    PERFORM rescore._serve(given.model, given.version, CASE WHEN candidate THEN 'candidate' ELSE 'publish' END, reason);
    RETURN given.version;
END
$$;
COMMENT ON FUNCTION rescore._register_version(rescore.models, jsonb, double precision[], timestamptz, boolean, text) IS
    'Numbers, records, compiles and proves a version and, unless it is a candidate, lets it serve; all or nothing.';

CREATE OR REPLACE FUNCTION rescore._check_artefact(artifact bytea, sha256 text, format text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    digest text := encode(pg_catalog.sha256(artifact), 'hex');
BEGIN
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
    candidate boolean DEFAULT false, reason text DEFAULT NULL, clock timestamptz DEFAULT '2026-01-01 00:00:00+00')
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
    given.model := model;
    given.artifact := artifact;
    given.format := format;
    given.sha256 := lower(sha256);
    given.linear := linear;
    given.contract := contract;
    given.metrics := metrics;
    given.library_versions := library_versions;
    given.parent := parent;
    RETURN rescore._register_version(given, probes, expected, clock, candidate, reason);
END
$$;
COMMENT ON FUNCTION rescore.publish_linear(text, bytea, text, jsonb, jsonb, jsonb, double precision[], jsonb, text, jsonb, integer, boolean, text, timestamptz) IS
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
    expected double precision[] DEFAULT NULL, parent integer DEFAULT NULL, candidate boolean DEFAULT false, reason text DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    given rescore.models;
    deployment rescore.deployments := rescore._deployment(model);
    proof jsonb;
BEGIN
    PERFORM rescore._require_python(pg_catalog.format('prove model %s', model));
    PERFORM rescore._check_artefact(artifact, encode(pg_catalog.sha256(artifact), 'hex'), format);
    given.contract := rescore._frozen_contract(contract, deployment.inputs, artifact, format);
    PERFORM rescore._check_contract(model, given.contract, deployment.inputs);
    proof := rescore._prove(artifact, format, given.contract, coalesce(cardinality(expected), 200), expected);
    given.model := model;
    given.artifact := artifact;
    given.format := format;
    given.sha256 := proof ->> 'sha256';
    given.linear := nullif(proof -> 'linear', 'null');
    given.metrics := metrics;
    given.library_versions := proof -> 'library_versions';
    given.parent := parent;
    RETURN rescore._register_version(given, proof -> 'probes',
        ARRAY(SELECT e.v::double precision FROM jsonb_array_elements_text(proof -> 'expected') WITH ORDINALITY AS e (v, n) ORDER BY e.n),
        (proof ->> 'clock')::timestamptz, candidate, reason);
END
$$;
COMMENT ON FUNCTION rescore.publish(text, bytea, jsonb, jsonb, text, double precision[], integer, boolean, text) IS
    'Loads an artefact through the allow-list, proves it on probes (and against the caller''s own scores of them), records it and lets it serve from this commit on; candidate only records it. Returns the version.';

CREATE OR REPLACE FUNCTION rescore.promote(model text, version integer, reason text DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deployment rescore.deployments := rescore._deployment(model);
BEGIN
    PERFORM rescore._check_version(model, version);
    IF deployment.champion IS DISTINCT FROM version THEN
        PERFORM rescore._serve(model, version, 'promote', reason);
    END IF;
    RETURN version;
END
$$;
COMMENT ON FUNCTION rescore.promote(text, integer, text) IS 'Lets a recorded version serve from this commit on; does nothing when it does.';

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
                  WHERE h.model = _served.model AND h.action <> 'candidate' ORDER BY h.id LOOP
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

CREATE OR REPLACE FUNCTION rescore.rollback(model text, version integer DEFAULT NULL, reason text DEFAULT NULL)
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
    PERFORM rescore._serve(model, target, 'rollback', reason);
    RETURN target;
END
$$;
COMMENT ON FUNCTION rescore.rollback(text, integer, text) IS
    'Lets the version that served before serve again, or an earlier one by number; twice goes back twice. Returns the version.';

-- Whoever may publish decides what everybody's rows score: granted by name, never to all.
REVOKE EXECUTE ON FUNCTION rescore.publish(text, bytea, jsonb, jsonb, text, double precision[], integer, boolean, text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore.publish_linear(text, bytea, text, jsonb, jsonb, jsonb, double precision[], jsonb, text, jsonb, integer, boolean, text, timestamptz) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore.promote(text, integer, text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore.rollback(text, integer, text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore._create_router(text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore._touch() FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore._incident(text, text, integer, text, text, text) FROM PUBLIC;
