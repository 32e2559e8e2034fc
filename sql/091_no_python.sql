-- unless: plpython3u
-- What generated functions call where there is no PL/Python: it says so.
-- Calls: 055_publish (_require_python). Tables: none.

CREATE OR REPLACE FUNCTION rescore._python_scores(model text, version integer, flat double precision[], columns integer)
RETURNS double precision[]
LANGUAGE plpgsql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM rescore._require_python(format('score model %s', model));
END
$$;
COMMENT ON FUNCTION rescore._python_scores(text, integer, double precision[], integer) IS
    'Raises RS007: this database has no PL/Python.';

CREATE OR REPLACE FUNCTION rescore._python_score(model text, version integer, design_row double precision[])
RETURNS double precision
LANGUAGE plpgsql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM rescore._require_python(format('score model %s', model));
END
$$;
COMMENT ON FUNCTION rescore._python_score(text, integer, double precision[]) IS
    'Raises RS007: this database has no PL/Python.';
