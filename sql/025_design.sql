-- The design row: whether an input is there, its value, cleaned and transformed, and each column, as
-- SQL expressions. plpython/design.py says the same in Python.
-- Calls: 020_contract, 022_lists. Tables: none.

CREATE OR REPLACE FUNCTION rescore._present(input text, type text, kind text, nullable boolean, bounded boolean)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN kind IN ('days_since', 'days_until') AND NOT bounded THEN format('isfinite(%I) AND isfinite(rescore_clock)', input)
        WHEN type IN ('numeric', 'real', 'double precision') AND NOT bounded
            THEN format('abs(%I) < ''Infinity''::%s', input, type)
        WHEN kind = 'list' THEN format('cardinality(%I) > 0', input)
        -- A payload may lack even a category that the table never lacks.
        WHEN nullable OR kind = 'category' THEN format('%I IS NOT NULL', input)
    END
$$;
COMMENT ON FUNCTION rescore._present(text, text, text, boolean, boolean) IS
    'SQL: whether an input has a value that a model can use; NULL when it always has.';

CREATE OR REPLACE FUNCTION rescore._seconds(input text, kind text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- Seconds as float8 in one call, a third of what an interval and date_part cost. Not greatest, which
    -- takes no notice of NULL. The input once only: whatever it is, the scorer can then be inlined.
    SELECT CASE kind WHEN 'days_since' THEN format('float8larger(tstzrange_subdiff(rescore_clock, %I), ''0''::float8)', input)
                     WHEN 'days_until' THEN format('tstzrange_subdiff(%I, rescore_clock)', input) END
$$;
COMMENT ON FUNCTION rescore._seconds(text, text) IS 'SQL: the seconds since or until an input; NULL for a number.';

CREATE OR REPLACE FUNCTION rescore._value(input text, type text, kind text, bounded boolean)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN kind IN ('days_since', 'days_until') THEN rescore._seconds(input, kind) || ' / ''86400''::float8'
        WHEN kind = 'category' THEN format(CASE WHEN type = 'text' THEN '%I COLLATE "C"' ELSE '%I::text COLLATE "C"' END, input)
        WHEN kind = 'list' THEN format('%I COLLATE "C"', input)
        WHEN type = 'boolean' THEN format('%I::int4::float8', input)
        WHEN type = 'double precision' THEN format('%I', input)
        ELSE format('%I::float8', input)
    END
$$;
COMMENT ON FUNCTION rescore._value(text, text, text, boolean) IS
    'SQL: an input that has a value, as float8, or as text or text[] for a category or list.';

CREATE OR REPLACE FUNCTION rescore._is_negative(input text, type text, kind text, clip double precision[])
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN clip[2] <= 0 THEN 'true'
                WHEN clip[1] >= 0 OR kind = 'days_since' OR type = 'boolean' THEN 'false'
                WHEN kind = 'days_until' THEN format('%I < rescore_clock', input)
                ELSE format('%I < ''0''::%s', input, type) END
$$;
COMMENT ON FUNCTION rescore._is_negative(text, text, text, double precision[]) IS
    'SQL: whether an input that has a value is below 0 once it is clipped.';

CREATE OR REPLACE FUNCTION rescore._transformed(value text, negative text, clip double precision[], log1p boolean)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
    SELECT CASE WHEN NOT log1p THEN clipped
                WHEN negative = 'false' THEN format('ln(''1''::float8 + %s)', clipped)
                WHEN negative = 'true' THEN format('-ln(''1''::float8 - %s)', clipped)
                ELSE format('CASE WHEN %1$s THEN -ln(''1''::float8 - %2$s) ELSE ln(''1''::float8 + %2$s) END', negative, clipped) END
    -- Not least and greatest, which take no notice of NULL; these also cost a third.
    FROM (SELECT CASE WHEN clip[2] IS NULL THEN value ELSE format('float8smaller(%s, %L::float8)', value, clip[2]) END AS low) AS l
    CROSS JOIN LATERAL (SELECT CASE WHEN clip[1] IS NULL THEN low ELSE format('float8larger(%s, %L::float8)', low, clip[1]) END AS clipped) AS c
$$;
COMMENT ON FUNCTION rescore._transformed(text, text, double precision[], boolean) IS
    'SQL: a number after clip and log1p; NULL when it is.';

CREATE OR REPLACE FUNCTION rescore._transformed(number double precision, clip double precision[], log1p boolean)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN log1p THEN sign(x) * ln(1 + abs(x)) ELSE x END
    FROM (SELECT CASE WHEN number IS NOT NULL THEN greatest(least(number, clip[2]), clip[1]) END AS x) AS clipped
$$;
COMMENT ON FUNCTION rescore._transformed(double precision, double precision[], boolean) IS
    'A number after clip and log1p; NULL when it is.';

CREATE OR REPLACE FUNCTION rescore._cleaned(input text, type text, bounded boolean, present text, value text, ends text[])
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN present IS NULL THEN value
        -- The argument once only: whatever it is, the function can then be inlined.
        WHEN present = format('%I IS NOT NULL', input) THEN format('coalesce(%s, %s)', value, ends[4])
        WHEN type NOT IN ('numeric', 'real', 'double precision')
            THEN format('CASE WHEN %s THEN %s ELSE %s END', present, value, ends[4])
        -- The usual case first. It is the argument that is compared: the cast of a numeric can raise.
        ELSE format('CASE WHEN abs(%1$I) BETWEEN ''1e-100''::%2$s AND ''1e100''::%2$s THEN %3$s '
                    'WHEN abs(%1$I) < ''1e-100''::%2$s THEN %4$s '
                    'WHEN %5$s THEN CASE WHEN %1$I < ''0''::%2$s THEN %6$s ELSE %7$s END ELSE %8$s END',
                    input, CASE WHEN type = 'numeric' THEN 'numeric' ELSE 'float8' END, value, ends[1], present, ends[2], ends[3], ends[4])
    END
$$;
COMMENT ON FUNCTION rescore._cleaned(text, text, boolean, text, text, text[]) IS
    'SQL: value where the input has one; ends are what stands for magnitudes under 1e-100, for numbers below -1e100, for those above 1e100, and for a missing one.';

CREATE OR REPLACE FUNCTION rescore._encoded(contract jsonb)
RETURNS TABLE ("position" integer, name text, type text, kind text, bounded boolean, missing boolean, categories text[], other boolean, counted boolean,
               buckets double precision[], present text, value text, ends double precision[])
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.position, i.name, i.type, i.kind, i.bounded, i.missing, i.categories, i.other, t.counted, t.buckets,
           -- A payload may lack even what the table never lacks; then it is in no bucket.
           rescore._present(i.name, i.type, i.kind, i.nullable OR (t.buckets IS NOT NULL AND i.default IS NULL), i.bounded),
           CASE WHEN t.is_plain THEN v.value
                ELSE rescore._transformed(v.value, rescore._is_negative(i.name, i.type, i.kind, t.clip), t.clip, t.log1p) END,
           CASE WHEN t.is_plain THEN v.ends
                ELSE ARRAY(SELECT rescore._transformed(e.n, t.clip, t.log1p) FROM unnest(v.ends) WITH ORDINALITY AS e (n, o) ORDER BY e.o) END
    FROM rescore._inputs(contract) AS i
    JOIN jsonb_array_elements(contract -> 'inputs') WITH ORDINALITY AS given (v, n) ON given.n = i.position
    CROSS JOIN LATERAL (SELECT NOT given.v ?| '{clip,log1p}' AS is_plain, coalesce((given.v ->> 'log1p')::boolean, false) AS log1p,
                               CASE WHEN given.v ? 'clip' THEN rescore._numbers(given.v, 'clip') END AS clip,
                               CASE WHEN given.v ? 'buckets' THEN rescore._numbers(given.v, 'buckets') END AS buckets,
                               coalesce((given.v ->> 'count')::boolean, false) AS counted) AS t
    CROSS JOIN LATERAL (SELECT rescore._value(i.name, i.type, i.kind, i.bounded) AS value,
                               ARRAY[0, -1e100, 1e100, i.default] AS ends) AS v
$$;
COMMENT ON FUNCTION rescore._encoded(jsonb) IS
    'The inputs of a contract with the SQL of whether one is present and of its value, transformed; ends are the values of the four cases of _cleaned.';

CREATE OR REPLACE FUNCTION rescore._bucket_columns(name text, buckets double precision[], found text)
RETURNS TABLE (place integer, column_name text, expression text)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE ROWS 10
-- Edges are named by the shortest decimal that reads back as the edge.
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
    SELECT b.n, name || CASE b.n WHEN 0 THEN format('<%s', buckets[1])
                                 WHEN cardinality(buckets) THEN format('>=%s', buckets[b.n])
                                 ELSE format('[%s,%s)', buckets[b.n], buckets[b.n + 1]) END,
           format('CASE WHEN %s = %L::int4 THEN ''1''::float8 ELSE ''0''::float8 END', found, b.n)
    FROM generate_series(0, cardinality(buckets)) AS b (n)
$$;
COMMENT ON FUNCTION rescore._bucket_columns(text, double precision[], text) IS
    'One design column for each interval between edges, given SQL for the number of edges that are not above the value.';

CREATE OR REPLACE FUNCTION rescore._columns(contract jsonb)
RETURNS TABLE ("position" integer, input text, column_name text, expression text)
LANGUAGE sql STABLE PARALLEL SAFE
-- Compiling the queries in here to machine code would take ten times as long as running them.
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1 SET jit = off
AS $$
    SELECT row_number() OVER (ORDER BY i.position, c.place)::integer, i.name, c.column_name, c.expression
    FROM rescore._encoded(contract) AS i
    CROSS JOIN LATERAL (
        SELECT 0 AS place, i.name AS column_name, rescore._cleaned(
                   i.name, i.type, i.bounded, i.present, i.value,
                   ARRAY(SELECT format('%L::float8', e.v) FROM unnest(i.ends) WITH ORDINALITY AS e (v, n) ORDER BY e.n)) AS expression
        WHERE i.kind NOT IN ('category', 'list') AND i.buckets IS NULL
        UNION ALL
        SELECT b.place, b.column_name, b.expression
        FROM rescore._bucket_columns(i.name, i.buckets, CASE WHEN i.buckets IS NOT NULL THEN rescore._cleaned(
                 i.name, i.type, i.bounded, i.present, format('width_bucket(%s, %L::float8[])', i.value, i.buckets),
                 ARRAY(SELECT format('%L::int4', coalesce(width_bucket(e.v, i.buckets), -1))
                       FROM unnest(i.ends) WITH ORDINALITY AS e (v, n) ORDER BY e.n)) END) AS b
        UNION ALL
        SELECT n, format('%s=%s', i.name, v), format('CASE WHEN %s = %L THEN ''1''::float8 ELSE ''0''::float8 END', i.value, v)
        FROM unnest(i.categories) WITH ORDINALITY AS k (v, n)
        WHERE i.kind = 'category'
        UNION ALL
        SELECT l.place, l.column_name, l.expression
        FROM rescore._list_columns(i.name, i.value, i.categories, i.other, i.counted) AS l
        WHERE i.kind = 'list'
        UNION ALL
        SELECT 1000000, i.name || '=*', format('CASE WHEN %s <> ALL (%L::text[]) THEN ''1''::float8 ELSE ''0''::float8 END', i.value, i.categories)
        WHERE i.kind = 'category' AND i.other
        UNION ALL
        SELECT 1000001, i.name || '__missing', CASE WHEN i.present IS NULL THEN '''0''::float8' ELSE
            format('CASE WHEN %s THEN ''0''::float8 ELSE ''1''::float8 END', i.present) END
        WHERE i.missing
    ) AS c
$$;
COMMENT ON FUNCTION rescore._columns(jsonb) IS
    'The design row of a contract: each column as an SQL expression over the names of the inputs and rescore_clock.';
