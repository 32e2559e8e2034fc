-- From a linear form to SQL: one function per version, inlined into every query that scores.
-- Calls: 010_errors, 020_contract, 022_lists, 025_design. Tables: none.
--
-- What is emitted is total: weights and inputs are 0 or between 1e-100 and 1e100 in magnitude, so
-- that no product underflows (PostgreSQL raises there) and no sum overflows.

CREATE OR REPLACE FUNCTION rescore._linear(linear jsonb, columns integer)
RETURNS TABLE (weights double precision[], intercept double precision, link text)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    given integer := CASE jsonb_typeof(linear -> 'weights') WHEN 'array' THEN jsonb_array_length(linear -> 'weights') END;
BEGIN
    IF given IS NULL OR coalesce(linear ->> 'link', '') NOT IN ('logistic', 'clip', 'identity')
       OR (SELECT count(*) FROM jsonb_object_keys(linear)) <> 3 THEN
        RAISE EXCEPTION USING ERRCODE = 'RS002', MESSAGE = format('not a linear form: %s', left(linear::text, 200)),
            DETAIL = 'Expected weights, intercept and a link of logistic, clip or identity.',
            HINT = 'Publish with `rescore publish`.';
    ELSIF given <> columns THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('%s weights for %s columns', given, columns),
            DETAIL = 'One weight belongs to each column of the contract.',
            HINT = 'Fit the estimator on the columns of the contract.';
    END IF;
    RETURN QUERY
    SELECT ARRAY(SELECT rescore._number(w.v, format('weight %s', w.n))
                 FROM jsonb_array_elements(linear -> 'weights') WITH ORDINALITY AS w (v, n) ORDER BY w.n),
           rescore._number(linear -> 'intercept', 'the intercept'), linear ->> 'link';
END
$$;
COMMENT ON FUNCTION rescore._linear(jsonb, integer) IS
    'Weights, intercept and link of a linear form, checked; RS002, RS004 or RS005 when something is wrong.';

CREATE OR REPLACE FUNCTION rescore._lookup(value text, categories text[], weights double precision[], otherwise double precision)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
    -- Measured with 180 categories, per row: CASE 2400 ns, array_position 2400, width_bucket 1500,
    -- a jsonb dictionary with an array of weights 260. Up to 16 the CASE is the faster one.
    SELECT CASE
        WHEN cardinality(categories) = 0 THEN format('%L::float8', otherwise)
        WHEN cardinality(categories) <= 16
            THEN format('CASE %s %s ELSE %L::float8 END', value,
                        (SELECT string_agg(format('WHEN %L THEN %L::float8', c, w), ' ' ORDER BY n)
                         FROM unnest(categories, weights) WITH ORDINALITY AS t (c, w, n)), otherwise)
        ELSE format('coalesce((%L::float8[])[(%L::jsonb ->> %s)::int4], %L::float8)', weights,
                    (SELECT jsonb_object_agg(c, n) FROM unnest(categories) WITH ORDINALITY AS t (c, n)), value, otherwise)
    END
$$;
COMMENT ON FUNCTION rescore._lookup(text, text[], double precision[], double precision) IS
    'SQL: the weight of a category.';

CREATE OR REPLACE FUNCTION rescore._category_term(value text, present text, categories text[], weights double precision[], other boolean, missing boolean)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
    SELECT CASE WHEN present IS NULL OR absent = unknown THEN looked_up
                ELSE format('CASE WHEN %s THEN %s ELSE %L::float8 END', present, looked_up, absent) END
    FROM (SELECT CASE WHEN other THEN weights[cardinality(categories) + 1] ELSE 0 END AS unknown,
                 CASE WHEN missing THEN weights[cardinality(weights)] ELSE 0 END AS absent) AS w
    CROSS JOIN LATERAL rescore._lookup(value, categories, weights[1:cardinality(categories)], w.unknown) AS looked_up
$$;
COMMENT ON FUNCTION rescore._category_term(text, text, text[], double precision[], boolean, boolean) IS
    'SQL: what a category adds to the sum; its weights are those of its design columns.';

CREATE OR REPLACE FUNCTION rescore._number_term(input text, type text, bounded boolean, present text, value text, ends double precision[],
                                                weight double precision, indicator double precision)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
    SELECT rescore._cleaned(input, type, bounded, present, format('%L::float8 * %s', weight, v),
                            ARRAY(SELECT format('%L::float8', weight * e.v + CASE WHEN e.n = 4 THEN indicator ELSE 0 END)
                                  FROM unnest(ends) WITH ORDINALITY AS e (v, n) ORDER BY e.n))
    FROM (SELECT CASE WHEN value LIKE '%/%' THEN format('(%s)', value) ELSE value END AS v) AS bracketed
$$;
COMMENT ON FUNCTION rescore._number_term(text, text, boolean, text, text, double precision[], double precision, double precision) IS
    'SQL: what a number adds to the sum; indicator is what is added when it is missing. See _encoded for value and ends.';

CREATE OR REPLACE FUNCTION rescore._bucket_term(input text, type text, bounded boolean, present text, value text, ends double precision[],
                                                buckets double precision[], weights double precision[], indicator double precision)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
    -- Measured per row with 2, 5, 16 and 100 edges: width_bucket 40, 50, 60 and 80 ns; CASE 25, 50,
    -- 130 and 710; nested by halves 25, 55, 95 and 160. Only here does the value stand once.
    SELECT rescore._cleaned(input, type, bounded, present,
                            format('(%L::float8[])[width_bucket(%s, %L::float8[])]',
                                   format('[0:%s]=%s', cardinality(buckets), weights[1:cardinality(buckets) + 1]), value, buckets),
                            ARRAY(SELECT format('%L::float8', coalesce(weights[width_bucket(e.v, buckets) + 1], 0)
                                                              + CASE WHEN e.n = 4 THEN indicator ELSE 0 END)
                                  FROM unnest(ends) WITH ORDINALITY AS e (v, n) ORDER BY e.n))
$$;
COMMENT ON FUNCTION rescore._bucket_term(text, text, boolean, text, text, double precision[], double precision[], double precision[], double precision) IS
    'SQL: what a number in buckets adds to the sum: the weight of its interval; indicator is what is added when it is missing.';

CREATE OR REPLACE FUNCTION rescore._terms(contract jsonb, linear jsonb)
RETURNS TABLE ("position" integer, input text, term text)
LANGUAGE sql STABLE PARALLEL SAFE
-- See _columns.
SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    WITH c AS (SELECT c.input, array_agg(c.position ORDER BY c.position) AS places, count(*) AS width
               FROM rescore._columns(contract) AS c GROUP BY c.input),
         l AS MATERIALIZED (SELECT l.weights FROM rescore._linear(linear, (SELECT sum(c.width)::integer FROM c)) AS l),
         w AS (SELECT c.input, l.weights[c.places[1]:c.places[cardinality(c.places)]] AS weights FROM c CROSS JOIN l)
    SELECT i.position, i.name, CASE
        WHEN 0 = ALL (w.weights) THEN NULL
        WHEN i.kind = 'category' THEN rescore._category_term(i.value, i.present, i.categories, w.weights, i.other, i.missing)
        WHEN i.kind = 'list' THEN rescore._list_term(i.value, i.present, i.categories, w.weights, i.other, i.counted, m.indicator)
        WHEN i.buckets IS NOT NULL THEN rescore._bucket_term(i.name, i.type, i.bounded, i.present, i.value, i.ends, i.buckets, w.weights, m.indicator)
        -- The plain days: that a day has 86400 seconds is in the weight.
        WHEN i.value = rescore._seconds(i.name, i.kind) || ' / ''86400''::float8'
            THEN rescore._number_term(i.name, i.type, i.bounded, i.present, rescore._seconds(i.name, i.kind),
                                      ARRAY[0, 0, 0, i.ends[4] * 86400], w.weights[1] / 86400, m.indicator)
        ELSE rescore._number_term(i.name, i.type, i.bounded, i.present, i.value, i.ends, w.weights[1], m.indicator) END
    FROM rescore._encoded(contract) AS i JOIN w ON w.input = i.name
    CROSS JOIN LATERAL (SELECT CASE WHEN i.missing THEN w.weights[cardinality(w.weights)] ELSE 0 END AS indicator) AS m
$$;
COMMENT ON FUNCTION rescore._terms(jsonb, jsonb) IS
    'What each input adds to the linear sum, as an SQL expression; NULL when that is always 0.';

CREATE OR REPLACE FUNCTION rescore._sum(contract jsonb, linear jsonb, inputs text[], intercept double precision)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
    SELECT concat_ws(' + ', CASE WHEN intercept <> 0 OR count(t.term) = 0 THEN format('%L::float8', intercept) END,
                     string_agg(t.term, ' + ' ORDER BY t.position))
    FROM rescore._terms(contract, linear) AS t WHERE t.input = ANY (inputs)
$$;
COMMENT ON FUNCTION rescore._sum(jsonb, jsonb, text[], double precision) IS
    'SQL: the intercept and what some of the inputs add to it.';

CREATE OR REPLACE FUNCTION rescore._link(link text, z text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(CASE link
        -- exp() raises on overflow; z stands here once, and is not computed twice.
        WHEN 'logistic' THEN '''1''::float8 / (''1''::float8 + exp(-greatest(least(%s, ''700''::float8), ''-700''::float8)))'
        WHEN 'clip' THEN '(greatest(least(%s, ''1''::float8), ''-1''::float8) + ''1''::float8) / ''2''::float8'
        ELSE '%s' END, z)
$$;
COMMENT ON FUNCTION rescore._link(text, text) IS 'SQL: the score of a linear sum.';

CREATE OR REPLACE FUNCTION rescore._parts(inputs jsonb)
RETURNS TABLE (part integer, names text[], types text[])
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- PostgreSQL functions take 100 arguments.
    SELECT (n - 1)::integer / 90 + 1, array_agg(i ->> 'name' ORDER BY n),
           array_agg(rescore._argument_type(i ->> 'type', i ->> 'kind') ORDER BY n)
    FROM jsonb_array_elements(inputs) WITH ORDINALITY AS t (i, n) GROUP BY 1
    UNION ALL
    SELECT 1, '{}', '{}' WHERE jsonb_array_length(inputs) = 0
    ORDER BY 1
$$;
COMMENT ON FUNCTION rescore._parts(jsonb) IS
    'Inputs in groups that a function can take: one part up to 90 inputs.';

CREATE OR REPLACE FUNCTION rescore._define(name text, arguments text[], types text[], returns text, attributes text, body text, about text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    listed text := (SELECT string_agg(format('%I %s', a, t), ', ' ORDER BY n)
                    FROM unnest(arguments, types) WITH ORDINALITY AS u (a, t, n));
BEGIN
    -- A RETURN body binds names now: a caller's search_path changes nothing, and dependencies are known.
    EXECUTE format('CREATE OR REPLACE FUNCTION rescore_compiled.%I(%s) RETURNS %s LANGUAGE sql %s RETURN %s',
                   name, listed, returns, attributes, body);
    EXECUTE format('COMMENT ON FUNCTION rescore_compiled.%I(%s) IS %L', name, array_to_string(types, ', '), about);
END
$$;
COMMENT ON FUNCTION rescore._define(text, text[], text[], text, text, text, text) IS
    'Creates or replaces a generated function with its comment; whoever calls this grants.';

CREATE OR REPLACE FUNCTION rescore._define_version(name text, contract jsonb, linear jsonb, part integer, parts integer, names text[], types text[], about text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    suffix text := CASE WHEN parts > 1 THEN format('_p%s', part) ELSE '' END;
    arguments text[] := names || 'rescore_clock'::text;
    all_types text[] := types || 'timestamptz'::text;
    design_row text := (SELECT format('ARRAY[%s]::float8[]', string_agg(c.expression, ', ' ORDER BY c.position))
                        FROM rescore._columns(contract) AS c WHERE c.input = ANY (names));
    form record;
BEGIN
    PERFORM rescore._define(name || '_x' || suffix, arguments, all_types, 'double precision[]', 'IMMUTABLE PARALLEL SAFE',
                            coalesce(design_row, '''{}''::float8[]'), 'Design row of ' || about);
    IF linear IS NOT NULL THEN
        SELECT * INTO form FROM rescore._linear(linear, jsonb_array_length(linear -> 'weights'));
        PERFORM rescore._define(name || suffix, arguments, all_types, 'double precision', 'IMMUTABLE PARALLEL SAFE',
            CASE WHEN parts > 1 THEN rescore._sum(contract, linear, names, 0)
                 ELSE rescore._link(form.link, rescore._sum(contract, linear, names, form.intercept)) END,
            CASE WHEN parts > 1 THEN 'Partial sum of ' ELSE 'Score by ' END || about);
        IF parts > 1 AND part = 1 THEN
            PERFORM rescore._define_link(name, form.intercept, form.link, about);
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._define_version(text, jsonb, jsonb, integer, integer, text[], text[], text) IS
    'Creates the functions of one part of a version: its design row and, when it is linear, its score.';

CREATE OR REPLACE FUNCTION rescore._define_link(name text, intercept double precision, link text, about text)
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
    SELECT rescore._define(name || '_link', '{z}', '{double precision}', 'double precision', 'IMMUTABLE PARALLEL SAFE',
                           rescore._link(link, format('%L::float8 + z', intercept)),
                           'Score of the partial sums of ' || about)
$$;
COMMENT ON FUNCTION rescore._define_link(text, double precision, text, text) IS
    'Creates the function that makes a score of a split model''s partial sums.';

CREATE OR REPLACE FUNCTION rescore._compile(model text, version integer, contract jsonb, linear jsonb)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
-- See _columns.
SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    name text := format('%s_v%s', model, version);
    twice text := (SELECT c.column_name FROM rescore._columns(contract) AS c GROUP BY 1 HAVING count(*) > 1 LIMIT 1);
BEGIN
    IF twice IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS004', MESSAGE = format('the contract has the column %s twice', twice),
            HINT = 'Rename a feature.';
    END IF;
    PERFORM rescore._define_version(name, contract, linear, p.part, (count(*) OVER ())::integer, p.names, p.types,
                                    format('version %s of model %s.', version, model))
    FROM rescore._parts(contract -> 'inputs') AS p ORDER BY p.part;
    PERFORM rescore._grant(ARRAY(SELECT f.oid FROM pg_proc AS f WHERE f.pronamespace = 'rescore_compiled'::regnamespace
                                 AND (f.proname = name OR starts_with(f.proname, name || '_'))));
END
$$;
COMMENT ON FUNCTION rescore._compile(text, integer, jsonb, jsonb) IS
    'Creates the immutable functions of a version: M_vV_x, its design row, and, when linear is not null, M_vV, its score.';

CREATE OR REPLACE FUNCTION rescore._call(name text, suffix text, inputs jsonb, args text[], clock text, glue text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format('rescore_compiled.%I(%s)',
               name || suffix || CASE WHEN n.parts > 1 THEN format('_p%s', p.part) ELSE '' END,
               array_to_string(args[(p.part - 1) * 90 + 1 : (p.part - 1) * 90 + cardinality(p.names)] || clock, ', ')),
           glue ORDER BY p.part)
    FROM rescore._parts(inputs) AS p
    CROSS JOIN (SELECT greatest((jsonb_array_length(inputs) + 89) / 90, 1) AS parts) AS n
$$;
COMMENT ON FUNCTION rescore._call(text, text, jsonb, text[], text, text) IS
    'SQL: a call of a generated function, or of its parts joined by an operator.';

CREATE OR REPLACE FUNCTION rescore._version_row_call(model text, version integer, inputs jsonb, args text[], clock text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT rescore._call(format('%s_v%s', model, version), '_x', inputs, args, clock, ' OPERATOR(pg_catalog.||) ')
$$;
COMMENT ON FUNCTION rescore._version_row_call(text, integer, jsonb, text[], text) IS
    'SQL: the design row of a version, given one expression per input of its contract.';

CREATE OR REPLACE FUNCTION rescore._version_call(model text, version integer, inputs jsonb, args text[], clock text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN jsonb_array_length(inputs) > 90
                THEN format('rescore_compiled.%I(%s)', format('%s_v%s_link', model, version), summed) ELSE summed END
    FROM rescore._call(format('%s_v%s', model, version), '', inputs, args, clock, ' OPERATOR(pg_catalog.+) ') AS summed
$$;
COMMENT ON FUNCTION rescore._version_call(text, integer, jsonb, text[], text) IS
    'SQL: the compiled score of a version, given one expression per input of its contract.';
