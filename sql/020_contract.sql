-- The feature contract: reading it and checking it.
-- Calls: 010_errors. Tables: none.

CREATE OR REPLACE FUNCTION rescore._number(value jsonb, what text)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    number numeric;
BEGIN
    IF (CASE jsonb_typeof(value) WHEN 'number' THEN abs(value::numeric) > 1e100 ELSE true END) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS005', MESSAGE = format('%s is %s', what, left(coalesce(value::text, 'missing'), 80)),
            DETAIL = 'Expected a number of magnitude up to 1e100.',
            HINT = 'Scale the features, or train anew.';
    END IF;
    number := value::numeric;
    -- Below this, products with an input could underflow, and PostgreSQL raises there.
    RETURN CASE WHEN abs(number) < 1e-100 THEN 0 ELSE number::double precision END;
END
$$;
COMMENT ON FUNCTION rescore._number(jsonb, text) IS
    'A JSON number as float8, cleaned; RS005 when it is none or above 1e100.';

CREATE OR REPLACE FUNCTION rescore._argument_type(type text, kind text)
RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- The type as PostgreSQL writes it; arguments carry no length or scale.
    known text := CASE WHEN type ~ '^[A-Za-z][A-Za-z0-9 ]*([(][0-9]+(, *[0-9]+)?[)])?([[][]])?$'
                       THEN format_type(to_regtype(regexp_replace(type, '[(].*?[)]', '')), NULL) END;
BEGIN
    IF known IS NULL OR known <> ALL ((CASE
           WHEN kind = 'number' THEN '{smallint,integer,bigint,numeric,real,double precision,boolean}'
           WHEN kind = 'category' THEN '{text,character varying,smallint,integer,bigint,boolean}'
           WHEN kind = 'list' THEN '{text[]}'
           ELSE '{timestamp with time zone}' END)::text[]) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('type %s does not fit an input of kind %s', coalesce(type, 'NULL'), kind),
            DETAIL = 'Numbers are smallint, integer, bigint, numeric, real, double precision or boolean; '
                'categories text, integers or boolean; lists text[]; days_since and days_until are timestamptz.',
            HINT = 'Correct the contract, or apply the definition anew.';
    END IF;
    RETURN known;
END
$$;
COMMENT ON FUNCTION rescore._argument_type(text, text) IS
    'The type of an argument as PostgreSQL writes it; RS004 when its kind cannot have it.';

CREATE OR REPLACE FUNCTION rescore._check_input(input jsonb)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := input ->> 'name';
    strange text := (SELECT string_agg(k, ', ') FROM jsonb_object_keys(CASE jsonb_typeof(input) WHEN 'object' THEN input ELSE '{}' END) AS k
                     WHERE k NOT IN ('name', 'type', 'kind', 'nullable', 'bounded', 'default', 'missing',
                                     'categories', 'other', 'count', 'top', 'clip', 'log1p', 'buckets'));
    wrong text := (SELECT string_agg(k, ', ') FROM unnest('{nullable,bounded,missing,other,count,log1p}'::text[]) AS k
                   WHERE jsonb_typeof(input -> k) NOT IN ('boolean'));
    is_frozen boolean := input ->> 'kind' NOT IN ('category', 'list') OR coalesce(jsonb_typeof(input -> 'categories'), '') = 'array';
BEGIN
    IF coalesce(octet_length(name), 0) NOT BETWEEN 1 AND 63 OR name = 'rescore_clock' THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('%s is no name of an input', coalesce(input -> 'name', 'null')),
            DETAIL = 'A name has 1 to 63 bytes; rescore_clock is taken.',
            HINT = 'Rename the feature.';
    ELSIF coalesce(input ->> 'kind', '') NOT IN ('number', 'days_since', 'days_until', 'category', 'list') THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('input %s is of unknown kind %s', name, coalesce(input -> 'kind', 'null')),
            DETAIL = 'Kinds are number, days_since, days_until, category and list.',
            HINT = 'Correct the contract.';
    ELSIF strange IS NOT NULL OR wrong IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('input %s has a wrong key: %s', name, coalesce(strange, wrong)),
            DETAIL = 'nullable, bounded, missing, other, count and log1p are true or false.',
            HINT = 'Correct the contract.';
    ELSIF NOT is_frozen THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('the categories of %s are not frozen', name),
            DETAIL = 'A version needs the list itself in place of top.',
            HINT = 'Publish with `rescore publish`, or fit the estimator on named columns.';
    ELSIF EXISTS (SELECT FROM jsonb_array_elements(CASE WHEN input ->> 'kind' IN ('category', 'list') THEN input -> 'categories' ELSE '[]' END) AS c
                  GROUP BY c #>> '{}' HAVING count(*) > 1 OR bool_or(jsonb_typeof(c) IN ('null', 'array', 'object'))) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('the categories of %s hold a value twice, or one that is no text', name),
            DETAIL = left((input -> 'categories')::text, 200),
            HINT = 'Correct the contract.';
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._check_input(jsonb) IS 'Raises RS004 when this is no input of a frozen contract.';

CREATE OR REPLACE FUNCTION rescore._numbers(input jsonb, key text)
RETURNS double precision[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN input ? key THEN
        ARRAY(SELECT CASE WHEN jsonb_typeof(e.v) <> 'null' THEN rescore._number(e.v, format('%s of %s', key, input ->> 'name')) END
              FROM jsonb_array_elements(CASE jsonb_typeof(input -> key) WHEN 'array' THEN input -> key ELSE '[]' END)
                   WITH ORDINALITY AS e (v, n) ORDER BY e.n) END
$$;
COMMENT ON FUNCTION rescore._numbers(jsonb, text) IS
    'A list of numbers of an input, where null stays NULL; NULL when the input has no such key.';

CREATE OR REPLACE FUNCTION rescore._check_transforms(input jsonb)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := input ->> 'name';
    clip double precision[] := rescore._numbers(input, 'clip');
    edges double precision[] := rescore._numbers(input, 'buckets');
BEGIN
    IF input ->> 'kind' IN ('category', 'list') AND input ?| '{clip,log1p,buckets}' THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('input %s is a %s and takes no transform', name, input ->> 'kind'),
            DETAIL = 'clip, log1p and buckets go with numbers and days.',
            HINT = 'Correct the contract.';
    -- _number has made these 0, which is another bound, and another edge.
    ELSIF jsonb_path_exists(input, '$.clip[*] ? (@ != 0 && @ > -1e-100 && @ < 1e-100)')
          OR jsonb_path_exists(input, '$.buckets[*] ? (@ != 0 && @ > -1e-100 && @ < 1e-100)') THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('input %s has a bound or edge too near to 0', name),
            DETAIL = 'Magnitudes below 1e-100 count as 0.',
            HINT = 'Correct the contract.';
    ELSIF clip IS NOT NULL AND (cardinality(clip) <> 2 OR NOT coalesce(clip[1] < clip[2], num_nulls(clip[1], clip[2]) = 1)) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('input %s has a wrong clip: %s', name, left((input -> 'clip')::text, 200)),
            DETAIL = 'Expected a lowest and a higher highest number, of which one may be null.',
            HINT = 'Correct the contract.';
    ELSIF edges IS NOT NULL AND (cardinality(edges) NOT BETWEEN 1 AND 100 OR array_position(edges, NULL) IS NOT NULL
          OR EXISTS (SELECT FROM unnest(edges[1:cardinality(edges) - 1], edges[2:]) AS pair (this, next) WHERE next <= this)) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('input %s has wrong buckets: %s', name, left((input -> 'buckets')::text, 200)),
            DETAIL = 'Expected 1 to 100 rising numbers.',
            HINT = 'Correct the contract.';
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._check_transforms(jsonb) IS 'Raises RS004 when an input has a clip, log1p or buckets that it cannot have.';

CREATE OR REPLACE FUNCTION rescore._inputs(contract jsonb)
RETURNS TABLE ("position" integer, name text, type text, kind text, nullable boolean, bounded boolean,
               "default" double precision, missing boolean, categories text[], other boolean)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    twice text;
BEGIN
    IF jsonb_typeof(contract -> 'inputs') IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('not a contract: %s', left(coalesce(contract::text, 'NULL'), 200)),
            DETAIL = 'Expected {"inputs": [...]}.',
            HINT = 'See the feature contract in the manual.';
    END IF;
    PERFORM rescore._check_input(i), CASE WHEN i ?| '{clip,log1p,buckets}' THEN rescore._check_transforms(i) END
    FROM jsonb_array_elements(contract -> 'inputs') AS i;
    twice := (SELECT i ->> 'name' FROM jsonb_array_elements(contract -> 'inputs') AS i GROUP BY 1 HAVING count(*) > 1 LIMIT 1);
    IF twice IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('the contract has the input %s twice', twice),
            HINT = 'Correct the contract.';
    END IF;
    RETURN QUERY
    SELECT i.n::integer, i.v ->> 'name', rescore._argument_type(i.v ->> 'type', i.v ->> 'kind'), i.v ->> 'kind',
           coalesce((i.v ->> 'nullable')::boolean, true), coalesce((i.v ->> 'bounded')::boolean, false),
           CASE WHEN NOT (i.v ? 'buckets' AND coalesce(i.v -> 'default', 'null') = 'null') THEN
               rescore._number(coalesce(i.v -> 'default', '0'), format('the default of %s', i.v ->> 'name')) END,
           coalesce((i.v ->> 'missing')::boolean, false),
           CASE WHEN i.v ->> 'kind' IN ('category', 'list') THEN
               ARRAY(SELECT c.v FROM jsonb_array_elements_text(i.v -> 'categories') WITH ORDINALITY AS c (v, n) ORDER BY c.n) END,
           coalesce((i.v ->> 'other')::boolean, false)
    FROM jsonb_array_elements(contract -> 'inputs') WITH ORDINALITY AS i (v, n);
END
$$;
COMMENT ON FUNCTION rescore._inputs(jsonb) IS 'The inputs of a frozen contract, checked, in order, with defaults filled in; without one, a missing number is in no bucket.';
