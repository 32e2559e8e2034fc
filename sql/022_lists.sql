-- Lists of categories: each design column, and what a list adds to the sum, as SQL expressions.
-- plpython/design.py says the same in Python.
-- Calls: nothing outside this file. Tables: none.

CREATE OR REPLACE FUNCTION rescore._list_weight(list text[], places jsonb, weights double precision[], other double precision, counted boolean)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    item text;
    place integer;
    -- Where each value counts once: those that have; 0 stands for all that have no place.
    seen integer[] := '{}';
    total double precision := 0;
BEGIN
    FOREACH item IN ARRAY coalesce(list, '{}') LOOP
        place := coalesce((places ->> item)::integer, 0);
        CONTINUE WHEN NOT counted AND place = ANY (seen);
        seen := seen || place;
        total := total + CASE WHEN place > 0 THEN weights[place] ELSE other END;
    END LOOP;
    RETURN total;
END
$$;
COMMENT ON FUNCTION rescore._list_weight(text[], jsonb, double precision[], double precision, boolean) IS
    'What the values of a list weigh: weights by place, one weight for those without; counted: each time, otherwise once each, and once all those without. 0 for none.';

CREATE OR REPLACE FUNCTION rescore._list_call(value text, categories text[], weights double precision[], other double precision, counted boolean)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
    SELECT format('rescore._list_weight(%s, %L::jsonb, %L::float8[], %L::float8, %L::boolean)', value,
                  (SELECT coalesce(jsonb_object_agg(c, n), '{}') FROM unnest(categories) WITH ORDINALITY AS t (c, n)), weights, other, counted)
$$;
COMMENT ON FUNCTION rescore._list_call(text, text[], double precision[], double precision, boolean) IS
    'SQL: a call of rescore._list_weight.';

CREATE OR REPLACE FUNCTION rescore._listed(value text, category text, counted boolean)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN counted THEN format('coalesce(cardinality(array_positions(%s, %L)), 0)::float8', value, category)
                ELSE format('CASE WHEN %L = ANY (%s) THEN ''1''::float8 ELSE ''0''::float8 END', category, value) END
$$;
COMMENT ON FUNCTION rescore._listed(text, text, boolean) IS
    'SQL: how often a category is in a list, or whether it is, as float8.';

CREATE OR REPLACE FUNCTION rescore._list_columns(name text, value text, categories text[], other boolean, counted boolean)
RETURNS TABLE (place bigint, column_name text, expression text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT n, format('%s=%s', name, v), rescore._listed(value, v, counted)
    FROM unnest(categories) WITH ORDINALITY AS k (v, n)
    UNION ALL
    SELECT 1000000, name || '=*',
           CASE WHEN counted THEN rescore._list_call(value, categories, array_fill(0::float8, ARRAY[cardinality(categories)]), 1, true)
                ELSE format('CASE WHEN NOT (%s <@ %L::text[]) THEN ''1''::float8 ELSE ''0''::float8 END', value, categories) END
    WHERE other
$$;
COMMENT ON FUNCTION rescore._list_columns(text, text, text[], boolean, boolean) IS
    'The design columns of a list: one for each category, and one for all others.';

CREATE OR REPLACE FUNCTION rescore._list_term(value text, present text, categories text[], weights double precision[], other boolean, counted boolean, absent double precision)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
    -- Measured per row and category, lists of 5: 120 ns, counted 200; the call 3 microseconds for any number of
    -- categories. Only there are others counted, and does the argument stand once.
    SELECT CASE WHEN absent = 0 THEN summed ELSE format('CASE WHEN %s THEN %s ELSE %L::float8 END', present, summed, absent) END
    FROM (SELECT CASE
        WHEN cardinality(categories) > 16 OR (counted AND other)
            THEN rescore._list_call(value, categories, weights[1:cardinality(categories)],
                                    CASE WHEN other THEN weights[cardinality(categories) + 1] ELSE 0 END, counted)
        ELSE coalesce((SELECT string_agg(format(CASE WHEN counted THEN '%L::float8 * %s' ELSE '%L::float8 * (%s)' END, w.weight, c.expression),
                                         ' + ' ORDER BY c.place)
                       FROM rescore._list_columns('', value, categories, other, counted) AS c
                       CROSS JOIN LATERAL (SELECT weights[least(c.place, cardinality(categories) + 1)] AS weight) AS w
                       WHERE w.weight <> 0), '''0''::float8') END AS summed) AS s
$$;
COMMENT ON FUNCTION rescore._list_term(text, text, text[], double precision[], boolean, boolean, double precision) IS
    'SQL: what a list adds to the sum; its weights are those of its design columns, absent is what a missing one adds.';
