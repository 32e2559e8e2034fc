-- Recording a version: number, compile, prove, switch; all or nothing.
-- Calls: 010_errors, 020_contract, 030_compile, 035_deployment, 040_router, _python_scores and _signer of 090_python.
-- Tables: reads and writes rescore.models, rescore.deployments, rescore.deployment_history; reads rescore.trusted_keys.

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
                   WHERE d.model = _is_serving.model
                     AND _is_serving.version = ANY (ARRAY[d.champion, d.challenger] || d.shadows))
$$;
COMMENT ON FUNCTION rescore._is_serving(text, integer) IS 'Whether a version is its model''s champion, challenger or a shadow.';

CREATE OR REPLACE TRIGGER immutable
    BEFORE UPDATE OF model, version, artifact, format, sha256, engine, linear, contract, signature, signed_by ON rescore.models
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
    IF found.model IS NULL OR NOT (SELECT rescore._defines(p.definition, model) FROM rescore.profiles AS p WHERE p.profile = found.profile) THEN
        PERFORM rescore._unknown_model(model);
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION rescore._deployment(text) IS 'The row of a model, locked against all other publishers; RS001 when there is none, or it is no longer defined.';

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

CREATE OR REPLACE FUNCTION rescore._serve(model text, version integer, action text, reason text, details jsonb DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before rescore.deployments := rescore._deployment(model);
BEGIN
    INSERT INTO rescore.deployment_history (model, action, version, previous, reason, details)
    VALUES (model, action, version, before.champion, reason, details);
    IF action = 'candidate' THEN
        RETURN;
    END IF;
    PERFORM rescore._end_challenge(before, version);
    UPDATE rescore.deployments AS d
    SET champion = _serve.version, updated_at = now(), shadows = array_remove(d.shadows, _serve.version),
        -- What was rolled back from is nothing to go back to.
        predecessor = CASE WHEN action <> 'rollback' THEN nullif(before.champion, _serve.version) END
    WHERE d.model = _serve.model;
    PERFORM rescore._create_router(model);
    PERFORM rescore._touch();
END
$$;
COMMENT ON FUNCTION rescore._serve(text, integer, text, text, jsonb) IS
    'Writes the history and, unless it is a candidate, lets the version serve.';

CREATE OR REPLACE FUNCTION rescore._end_challenge(deployment rescore.deployments, champion integer)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    in_python boolean := (SELECT m.engine = 'python' FROM rescore.models AS m WHERE m.model = deployment.model AND m.version = champion);
BEGIN
    IF deployment.challenger = champion OR (deployment.challenger IS NOT NULL AND in_python) THEN
        UPDATE rescore.deployments AS d SET challenger = NULL, challenger_share = NULL WHERE d.model = deployment.model;
        INSERT INTO rescore.deployment_history (model, action, version, previous, reason)
        VALUES (deployment.model, 'demote', deployment.challenger, deployment.champion,
                CASE WHEN in_python THEN format('version %s, which serves now, is scored by Python', champion)
                     ELSE 'its share ends: it serves everybody' END);
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._end_challenge(rescore.deployments, integer) IS
    'Ends the challenge when the challenger itself becomes champion, or the new champion is one beside which none can serve.';

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
                  -- The type as checked, not as written: this becomes SQL.
                  string_agg(format('%I %s', i ->> 'name', rescore._argument_type(i ->> 'type', i ->> 'kind')), ', ' ORDER BY n),
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
    IF jsonb_typeof(probes) IS DISTINCT FROM 'array' OR jsonb_array_length(probes) NOT BETWEEN 1 AND rescore._limit('probes')
       OR jsonb_array_length(probes) <> coalesce(cardinality(expected), 0) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS003', MESSAGE = format('%s scores for %s probes', coalesce(cardinality(expected), 0), CASE jsonb_typeof(probes) WHEN 'array' THEN jsonb_array_length(probes) END),
            DETAIL = format('Expected 1 to %s payloads and a score of each.', rescore._limit('probes')),
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

CREATE OR REPLACE FUNCTION rescore._check_signature(given rescore.models)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    signer text;
BEGIN
    IF NOT EXISTS (SELECT FROM rescore.trusted_keys) THEN
        RETURN NULL;
    ELSIF given.signature IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS021', MESSAGE = format('the version of model %s is not signed', given.model),
            DETAIL = 'Keys are registered in rescore.trusted_keys: one of them must have signed what is published.',
            HINT = 'Publish with `rescore publish --key FILE`.';
    ELSIF to_regproc('rescore._signer') IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS007', MESSAGE = 'this database has no PL/Python to check signatures with',
            DETAIL = 'Keys are registered in rescore.trusted_keys: nothing is published unchecked.',
            HINT = 'Run `rescore install` as a superuser where PL/Python is available, or remove all keys.';
    END IF;
    signer := rescore._signer(given.model, given.format, given.sha256, given.contract, given.linear, given.signature);
    IF signer IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS021', MESSAGE = format('no registered key has signed this version of model %s', given.model),
            DETAIL = format('A signature holds for one artefact (SHA-256 %s), model, format, contract and linear form. Registered keys: %s.',
                            given.sha256, rescore._listed(ARRAY(SELECT k.name FROM rescore.trusted_keys AS k ORDER BY k.name))),
            HINT = 'Publish with `rescore publish --key FILE` and a key that `rescore keys list` shows.';
    END IF;
    RETURN signer;
END
$$;
COMMENT ON FUNCTION rescore._check_signature(rescore.models) IS
    'The name of the key that signed a version; NULL when no keys are registered. RS021 when none of them did, RS007 when that cannot be told.';

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
    given.signed_by := rescore._check_signature(given);
    given.version := nextval(format('rescore_compiled.%I', given.model || '_version_seq')::regclass);
    given.engine := CASE WHEN given.linear IS NULL OR deployment.engine = 'python' THEN 'python' ELSE 'compiled' END;
    INSERT INTO rescore.models (model, version, artifact, format, sha256, engine, linear, contract, metrics, library_versions, parent,
                                signature, signed_by)
    VALUES (given.model, given.version, given.artifact, given.format, given.sha256, given.engine, given.linear,
            given.contract, coalesce(given.metrics, '{}'), coalesce(given.library_versions, '{}'), given.parent,
            CASE WHEN given.signed_by IS NOT NULL THEN given.signature END, given.signed_by);
    PERFORM rescore._compile(given.model, given.version, given.contract, given.linear);
    PERFORM rescore._prove_version(given.model, given.version, probes, expected, clock);
    PERFORM rescore._serve(given.model, given.version, CASE WHEN candidate THEN 'candidate' ELSE 'publish' END, reason);
    RETURN given.version;
END
$$;
COMMENT ON FUNCTION rescore._register_version(rescore.models, jsonb, double precision[], timestamptz, boolean, text) IS
    'Numbers, records, compiles and proves a version and, unless it is a candidate, lets it serve; all or nothing.';
