-- Arrays as they stand in memory, for who reads many numbers.
-- Calls: nothing. Tables: none.

-- array_send calls a function for each number, which takes longer than to find and to learn the example
-- it is of; byteasend copies whatever bytes a value has, here those of an array, and bytea_string_agg_transfn
-- appends them to those before. Only a superuser may name the server's own functions: elsewhere examples
-- are read by array_send (trainer/loop/reading.py).
DO $$
BEGIN
    IF (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user) THEN
        CREATE OR REPLACE FUNCTION rescore._packed(numbers anyarray)
        RETURNS bytea
        LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp
        AS 'byteasend';
        COMMENT ON FUNCTION rescore._packed(anyarray) IS
            'The bytes of an array as this server keeps them: five or seven integers that say how long it is, then its numbers one after the other, in the order of bytes of the server''s processor.';
        -- No search_path: it calls nothing, and to set one would take longer than it does.
        CREATE OR REPLACE FUNCTION rescore._append_row(internal, numbers double precision[], separator bytea)
        RETURNS internal
        LANGUAGE internal IMMUTABLE PARALLEL SAFE
        AS 'bytea_string_agg_transfn';
        COMMENT ON FUNCTION rescore._append_row(internal, double precision[], bytea) IS 'A step of rescore._joined.';
        CREATE OR REPLACE AGGREGATE rescore._joined(numbers double precision[], separator bytea) (
            SFUNC = rescore._append_row, STYPE = internal, FINALFUNC = pg_catalog.bytea_string_agg_finalfn, PARALLEL = SAFE
        );
        COMMENT ON AGGREGATE rescore._joined(double precision[], bytea) IS
            'The bytes of arrays as rescore._packed returns them, one array after the other, with a separator or NULL between; an array that is NULL is left out.';
    END IF;
END
$$;
