-- Whether a model is defined, and what must hold between a version and the model it is of.
-- Calls: 010_errors, 020_contract. Tables: reads rescore.deployments.

-- No SET: the names are bound when it is made, and only so is it inlined.
CREATE OR REPLACE FUNCTION rescore._defines(definition jsonb, model text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(definition -> 'models' ? model, true);
COMMENT ON FUNCTION rescore._defines(jsonb, text) IS
    'Whether a profile''s definition still has a model: versions and snapshots stay when it is removed. True of one made by hand, which names no models.';

CREATE OR REPLACE FUNCTION rescore._check_contract(model text, contract jsonb, inputs jsonb)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    taken record;
    known text[] := ARRAY(SELECT i ->> 'name' FROM jsonb_array_elements(inputs) AS i);
BEGIN
    FOR taken IN
        SELECT c.name, d.v IS NULL AS is_strange,
               CASE WHEN d.v ->> 'kind' = c.kind THEN rescore._argument_type(d.v ->> 'type', c.kind) = c.type ELSE false END
               -- What the version was told cannot come must not come.
               AND (c.nullable OR NOT coalesce((d.v ->> 'nullable')::boolean, true))
               AND (NOT c.bounded OR coalesce((d.v ->> 'bounded')::boolean, false)) AS fits
        FROM rescore._inputs(contract) AS c
        LEFT JOIN jsonb_array_elements(inputs) AS d (v) ON d.v ->> 'name' = c.name ORDER BY c.position
    LOOP
        IF taken.is_strange THEN
            RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('model %s has no input %s', model, taken.name),
                DETAIL = format('Its inputs: %s.', rescore._listed(known)),
                HINT = 'Train on these, or apply a definition that has the feature.';
        ELSIF NOT taken.fits THEN
            RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('input %s of model %s is defined otherwise', taken.name, model),
                DETAIL = format('Defined: %s.', (SELECT i::text FROM jsonb_array_elements(inputs) AS i WHERE i ->> 'name' = taken.name)),
                HINT = 'Train anew with the present definition.';
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION rescore._check_contract(text, jsonb, jsonb) IS
    'Raises RS004 when a contract takes what the deployment does not give: by name, type, kind, NULLs and bounds.';

CREATE OR REPLACE FUNCTION rescore._check_order(model text, champion rescore.models, inputs jsonb)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Design rows of a split model are joined part by part, in the order of the deployment.
    IF jsonb_array_length(inputs) > 90 AND EXISTS (
        SELECT FROM (SELECT d.n, lag(d.n) OVER (ORDER BY c.position) AS before
                     FROM rescore._inputs(champion.contract) AS c
                     JOIN jsonb_array_elements(inputs) WITH ORDINALITY AS d (v, n) ON d.v ->> 'name' = c.name) AS placed
        WHERE placed.n < placed.before) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('version %s of model %s takes its inputs in another order', champion.version, model),
            DETAIL = 'With more than 90 inputs, the order must be that of the definition.',
            HINT = 'Train anew with the present definition.';
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._check_order(text, rescore.models, jsonb) IS
    'Raises RS004 when a split model''s contract is not in the deployment''s order.';

CREATE OR REPLACE FUNCTION rescore._check_name(model text)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Functions of model a are a_x, a_v1 and so on: a model of such a name would share them.
    suffix text := '_(version|deferred|payload|challenged|served|others|(challenger_)?(x|link|x_p[0-9]+|p[0-9]+)|challenger|v[0-9]+(_x)?(_link|_p[0-9]+)?)$';
    other text := (SELECT d.model FROM rescore.deployments AS d
                   WHERE (starts_with(d.model, _check_name.model) AND substr(d.model, length(_check_name.model) + 1) ~ ('^' || suffix))
                      OR (starts_with(_check_name.model, d.model) AND substr(_check_name.model, length(d.model) + 1) ~ ('^' || suffix))
                   LIMIT 1);
BEGIN
    IF other IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS014', MESSAGE = format('the names of models %s and %s are too alike', model, other),
            DETAIL = 'Their generated functions would have the same names.',
            HINT = 'Rename one of them.';
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._check_name(text) IS
    'Raises RS014 when another model''s generated functions would have the same names.';
