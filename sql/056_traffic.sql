-- Who serves beside the champion: challengers for a share of the customers, shadows for nobody.
-- Calls: 010_errors, 040_router, 050_register. Tables: reads rescore.models; reads and writes
-- rescore.deployments, rescore.deployment_history.

CREATE OR REPLACE FUNCTION rescore._check_beside(deployment rescore.deployments, version integer)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known rescore.models;
BEGIN
    PERFORM rescore._check_version(deployment.model, version);
    SELECT * INTO known FROM rescore.models AS m WHERE m.model = deployment.model AND m.version = _check_beside.version;
    IF deployment.champion IS NULL OR deployment.champion = version THEN
        RAISE EXCEPTION USING ERRCODE = 'RS020',
            MESSAGE = CASE WHEN deployment.champion IS NULL THEN format('model %s has no champion', deployment.model)
                           ELSE format('version %s is the champion of model %s', version, deployment.model) END,
            DETAIL = 'Challengers and shadows are other versions than the one that serves.',
            HINT = 'Promote a version first, or name another one.';
    END IF;
    PERFORM rescore._check_contract(deployment.model, known.contract, deployment.inputs);
    PERFORM rescore._check_order(deployment.model, known, deployment.inputs);
END
$$;
COMMENT ON FUNCTION rescore._check_beside(rescore.deployments, integer) IS
    'Raises RS006, RS020 or RS004 when a version cannot stand beside the champion.';

CREATE OR REPLACE FUNCTION rescore._check_challenge(deployment rescore.deployments, version integer, share double precision)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    in_python integer := (SELECT min(m.version) FROM rescore.models AS m WHERE m.model = deployment.model
                          AND m.version IN (deployment.champion, _check_challenge.version) AND m.engine = 'python');
BEGIN
    PERFORM rescore._check_beside(deployment, version);
    IF (share > 0 AND share < 1) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'RS020', MESSAGE = format('%s is no share of the customers', coalesce(share::text, 'NULL')),
            DETAIL = 'A challenger serves more than none and fewer than all: 0.1 is every tenth customer.',
            HINT = 'Use rescore.promote for all, rescore.shadow for none.';
    ELSIF in_python IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS012', MESSAGE = format('version %s of model %s is scored by Python', in_python, deployment.model),
            DETAIL = 'A challenger and its champion are both compiled, so that each row is scored where it is written.',
            HINT = 'Let it be a shadow: rescore.shadow.';
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._check_challenge(rescore.deployments, integer, double precision) IS
    'Raises RS006, RS020, RS004 or RS012 when a version cannot serve that share of the customers.';

CREATE OR REPLACE FUNCTION rescore.challenge(model text, version integer, share double precision, reason text DEFAULT NULL, details jsonb DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deployment rescore.deployments := rescore._deployment(model);
BEGIN
    PERFORM rescore._check_challenge(deployment, version, share);
    IF (deployment.challenger, deployment.challenger_share) IS NOT DISTINCT FROM (version, share) THEN
        RETURN version;
    END IF;
    IF deployment.challenger <> version THEN
        INSERT INTO rescore.deployment_history (model, action, version, previous, reason)
        VALUES (model, 'demote', deployment.challenger, deployment.champion, format('version %s challenges in its place', version));
    END IF;
    UPDATE rescore.deployments AS d
    SET challenger = challenge.version, challenger_share = challenge.share, shadows = array_remove(d.shadows, challenge.version), updated_at = now()
    WHERE d.model = challenge.model;
    PERFORM rescore._switch_traffic(model, 'challenge', version, reason, jsonb_build_object('share', share) || coalesce(details, '{}'));
    RETURN version;
END
$$;
COMMENT ON FUNCTION rescore.challenge(text, integer, double precision, text, jsonb) IS
    'Lets a recorded version serve a share of the customers, chosen by a stable hash of the key, from this commit on; the same customers stay in a share that grows.';

CREATE OR REPLACE FUNCTION rescore.shadow(model text, version integer, reason text DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deployment rescore.deployments := rescore._deployment(model);
BEGIN
    PERFORM rescore._check_beside(deployment, version);
    IF jsonb_array_length(deployment.inputs) > 90 THEN
        RAISE EXCEPTION USING ERRCODE = 'RS012', MESSAGE = format('model %s has %s inputs', model, jsonb_array_length(deployment.inputs)),
            DETAIL = 'Versions are scored beside the champion with at most 90 inputs.',
            HINT = 'Let it serve a share of the customers: rescore.challenge.';
    ELSIF cardinality(deployment.shadows) >= 10 AND NOT version = ANY (deployment.shadows) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS020', MESSAGE = format('model %s has %s shadows', model, cardinality(deployment.shadows)),
            DETAIL = 'At most 10.', HINT = 'End one with rescore.demote.';
    ELSIF version = deployment.challenger OR NOT version = ANY (deployment.shadows) THEN
        UPDATE rescore.deployments AS d
        SET challenger = nullif(d.challenger, shadow.version), updated_at = now(),
            challenger_share = CASE WHEN d.challenger <> shadow.version THEN d.challenger_share END,
            shadows = array_remove(d.shadows, shadow.version) || shadow.version
        WHERE d.model = shadow.model;
        PERFORM rescore._switch_traffic(model, 'shadow', version, reason, NULL);
    END IF;
    RETURN version;
END
$$;
COMMENT ON FUNCTION rescore.shadow(text, integer, text) IS
    'Lets a recorded version score beside the champion in snapshots, without touching what is served.';

CREATE OR REPLACE FUNCTION rescore.demote(model text, version integer, reason text DEFAULT NULL, details jsonb DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deployment rescore.deployments := rescore._deployment(model);
BEGIN
    PERFORM rescore._check_version(model, version);
    IF (version = ANY (ARRAY[deployment.challenger] || deployment.shadows)) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'RS020', MESSAGE = format('version %s of model %s is neither challenger nor shadow', version, model),
            DETAIL = format('Challenger: %s; shadows: %s.', coalesce(deployment.challenger::text, 'none'), rescore._listed(deployment.shadows::text[])),
            HINT = 'To let another champion serve, use rescore.promote or rescore.rollback.';
    END IF;
    UPDATE rescore.deployments AS d
    SET challenger = nullif(d.challenger, demote.version), shadows = array_remove(d.shadows, demote.version), updated_at = now(),
        challenger_share = CASE WHEN d.challenger <> demote.version THEN d.challenger_share END
    WHERE d.model = demote.model;
    PERFORM rescore._switch_traffic(model, 'demote', version, reason, details);
    RETURN version;
END
$$;
COMMENT ON FUNCTION rescore.demote(text, integer, text, jsonb) IS
    'Ends a challenge or a shadow: the version stays recorded, and scores nothing more.';

CREATE OR REPLACE FUNCTION rescore._switch_traffic(model text, action text, version integer, reason text, details jsonb)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO rescore.deployment_history (model, action, version, previous, reason, details)
    SELECT d.model, action, version, d.champion, reason, details FROM rescore.deployments AS d WHERE d.model = _switch_traffic.model;
    PERFORM rescore._create_router(model);
    PERFORM rescore._touch();
END
$$;
COMMENT ON FUNCTION rescore._switch_traffic(text, text, integer, text, jsonb) IS
    'Writes the history and rewrites the routers of a model whose challenger or shadows have changed.';

REVOKE EXECUTE ON FUNCTION rescore.challenge(text, integer, double precision, text, jsonb) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore.shadow(text, integer, text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore.demote(text, integer, text, jsonb) FROM PUBLIC;
