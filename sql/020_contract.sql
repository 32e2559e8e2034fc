-- The feature contract: reading it, checking it, and each design column as an SQL expression.
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
    known text := CASE WHEN type ~ '^[A-Za-z][A-Za-z0-9 ]*(\(\d+(, *\d+)?\))?$'
                       THEN format_type(to_regtype(regexp_replace(type, '\(.*?\)', '')), NULL) END;
BEGIN
    IF known IS NULL OR known <> ALL ((CASE
           WHEN kind = 'number' THEN '{smallint,integer,bigint,numeric,real,double precision,boolean}'
           WHEN kind = 'category' THEN '{text,character varying,smallint,integer,bigint,boolean}'
           ELSE '{timestamp with time zone}' END)::text[]) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('type %s does not fit an input of kind %s', coalesce(type, 'NULL'), kind),
            DETAIL = 'Numbers are smallint, integer, bigint, numeric, real, double precision or boolean; '
                'categories text, integers or boolean; days_since and days_until are timestamptz.',
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
                                     'categories', 'other', 'top'));
    wrong text := (SELECT string_agg(k, ', ') FROM unnest('{nullable,bounded,missing,other}'::text[]) AS k
                   WHERE jsonb_typeof(input -> k) NOT IN ('boolean'));
    is_frozen boolean := input ->> 'kind' <> 'category' OR coalesce(jsonb_typeof(input -> 'categories'), '') = 'array';
BEGIN
    IF coalesce(octet_length(name), 0) NOT BETWEEN 1 AND 63 OR name = 'rescore_clock' THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('%s is no name of an input', coalesce(input -> 'name', 'null')),
            DETAIL = 'A name has 1 to 63 bytes; rescore_clock is taken.',
            HINT = 'Rename the feature.';
    ELSIF coalesce(input ->> 'kind', '') NOT IN ('number', 'days_since', 'days_until', 'category') THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('input %s is of unknown kind %s', name, coalesce(input -> 'kind', 'null')),
            DETAIL = 'Kinds are number, days_since, days_until and category.',
            HINT = 'Correct the contract.';
    ELSIF strange IS NOT NULL OR wrong IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('input %s has a wrong key: %s', name, coalesce(strange, wrong)),
            DETAIL = 'nullable, bounded, missing and other are true or false.',
            HINT = 'Correct the contract.';
    ELSIF NOT is_frozen THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('the categories of %s are not frozen', name),
            DETAIL = 'A version needs the list itself in place of top.',
            HINT = 'Publish with `rescore publish`, or fit the estimator on named columns.';
    ELSIF EXISTS (SELECT FROM jsonb_array_elements(CASE WHEN input ->> 'kind' = 'category' THEN input -> 'categories' ELSE '[]' END) AS c
                  GROUP BY c #>> '{}' HAVING count(*) > 1 OR bool_or(jsonb_typeof(c) IN ('null', 'array', 'object'))) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('the categories of %s hold a value twice, or one that is no text', name),
            DETAIL = left((input -> 'categories')::text, 200),
            HINT = 'Correct the contract.';
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._check_input(jsonb) IS 'Raises RS004 when this is no input of a frozen contract.';

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
    PERFORM rescore._check_input(i) FROM jsonb_array_elements(contract -> 'inputs') AS i;
    twice := (SELECT i ->> 'name' FROM jsonb_array_elements(contract -> 'inputs') AS i GROUP BY 1 HAVING count(*) > 1 LIMIT 1);
    IF twice IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('the contract has the input %s twice', twice),
            HINT = 'Correct the contract.';
    END IF;
    RETURN QUERY
    SELECT i.n::integer, i.v ->> 'name', rescore._argument_type(i.v ->> 'type', i.v ->> 'kind'), i.v ->> 'kind',
           coalesce((i.v ->> 'nullable')::boolean, true), coalesce((i.v ->> 'bounded')::boolean, false),
           rescore._number(coalesce(i.v -> 'default', '0'), format('the default of %s', i.v ->> 'name')),
           coalesce((i.v ->> 'missing')::boolean, false),
           CASE WHEN i.v ->> 'kind' = 'category' THEN
               ARRAY(SELECT c.v FROM jsonb_array_elements_text(i.v -> 'categories') WITH ORDINALITY AS c (v, n) ORDER BY c.n) END,
           coalesce((i.v ->> 'other')::boolean, false)
    FROM jsonb_array_elements(contract -> 'inputs') WITH ORDINALITY AS i (v, n);
END
$$;
COMMENT ON FUNCTION rescore._inputs(jsonb) IS 'The inputs of a frozen contract, checked, in order, with defaults filled in.';

CREATE OR REPLACE FUNCTION rescore._present(input text, type text, kind text, nullable boolean, bounded boolean)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN kind IN ('days_since', 'days_until') THEN format('isfinite(%I) AND isfinite(rescore_clock)', input)
        -- Even a numeric of fixed scale can be NaN. NULL and NaN both fail these comparisons.
        WHEN type = 'numeric' AND bounded THEN format('%I <> ''NaN''::numeric', input)
        WHEN type IN ('numeric', 'real', 'double precision') AND NOT bounded
            THEN format('abs(%I) < ''Infinity''::%s', input, type)
        -- A payload may lack even a category that the table never lacks.
        WHEN nullable OR kind = 'category' THEN format('%I IS NOT NULL', input)
    END
$$;
COMMENT ON FUNCTION rescore._present(text, text, text, boolean, boolean) IS
    'SQL: whether an input has a value that a model can use; NULL when it always has.';

CREATE OR REPLACE FUNCTION rescore._value(input text, type text, kind text, bounded boolean)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN kind = 'days_since'
            THEN format('date_part(''epoch'', greatest(rescore_clock, %1$I) - %1$I) / 86400::float8', input)
        WHEN kind = 'days_until' THEN format('date_part(''epoch'', %I - rescore_clock) / 86400::float8', input)
        WHEN kind = 'category' THEN format(CASE WHEN type = 'text' THEN '%I COLLATE "C"' ELSE '%I::text COLLATE "C"' END, input)
        WHEN type = 'boolean' THEN format('%I::int4::float8', input)
        WHEN type = 'double precision' THEN format('%I', input)
        ELSE format('%I::float8', input)
    END
$$;
COMMENT ON FUNCTION rescore._value(text, text, text, boolean) IS
    'SQL: an input that has a value, as float8, or as text for a category.';

CREATE OR REPLACE FUNCTION rescore._cleaned(input text, type text, bounded boolean, present text, value text, below text, above text, absent text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN present IS NULL THEN value
        -- The argument once only: whatever it is, the function can then be inlined.
        WHEN present = format('%I IS NOT NULL', input) THEN format('coalesce(%s, %s)', value, absent)
        WHEN type NOT IN ('numeric', 'real', 'double precision') OR bounded
            THEN format('CASE WHEN %s THEN %s ELSE %s END', present, value, absent)
        -- The usual case first. It is the argument that is compared: the cast of a numeric can raise.
        ELSE format('CASE WHEN abs(%1$I) BETWEEN ''1e-100''::%2$s AND ''1e100''::%2$s THEN %3$s '
                    'WHEN abs(%1$I) < ''1e-100''::%2$s THEN ''0''::float8 '
                    'WHEN %4$s THEN CASE WHEN %1$I < ''0''::%2$s THEN %5$s ELSE %6$s END ELSE %7$s END',
                    input, CASE WHEN type = 'numeric' THEN 'numeric' ELSE 'float8' END, value, present, below, above, absent)
    END
$$;
COMMENT ON FUNCTION rescore._cleaned(text, text, boolean, text, text, text, text, text) IS
    'SQL: value where the input has one, absent where not, below and above for magnitudes over 1e100, 0 for those under 1e-100.';

CREATE OR REPLACE FUNCTION rescore._columns(contract jsonb)
RETURNS TABLE ("position" integer, input text, column_name text, expression text)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
    SELECT row_number() OVER (ORDER BY i.position, c.place)::integer, i.name, c.column_name, c.expression
    FROM rescore._inputs(contract) AS i
    CROSS JOIN LATERAL (SELECT rescore._present(i.name, i.type, i.kind, i.nullable, i.bounded) AS present,
                               rescore._value(i.name, i.type, i.kind, i.bounded) AS value) AS e
    CROSS JOIN LATERAL (
        SELECT 0 AS place, i.name AS column_name, rescore._cleaned(
                   i.name, i.type, i.bounded, e.present, e.value,
                   '''-1e100''::float8', '''1e100''::float8', format('%L::float8', i.default)) AS expression
        WHERE i.kind <> 'category'
        UNION ALL
        SELECT n, format('%s=%s', i.name, v), format('CASE WHEN %s = %L THEN ''1''::float8 ELSE ''0''::float8 END', e.value, v)
        FROM unnest(i.categories) WITH ORDINALITY AS k (v, n)
        UNION ALL
        SELECT 1000000, i.name || '=*', format('CASE WHEN %s <> ALL (%L::text[]) THEN ''1''::float8 ELSE ''0''::float8 END', e.value, i.categories)
        WHERE i.kind = 'category' AND i.other
        UNION ALL
        SELECT 1000001, i.name || '__missing', CASE WHEN e.present IS NULL THEN '''0''::float8' ELSE
            format('CASE WHEN %s THEN ''0''::float8 ELSE ''1''::float8 END', e.present) END
        WHERE i.missing
    ) AS c
$$;
COMMENT ON FUNCTION rescore._columns(jsonb) IS
    'The design row of a contract: each column as an SQL expression over the names of the inputs and rescore_clock.';
