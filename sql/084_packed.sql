-- Rows as they stand in memory, for who reads many of them.
-- Calls: nothing. Tables: none.

-- To send a number takes a call of a function, which for an example of eight features is longer than to find
-- and to learn it; bytea_string_agg_transfn appends whatever bytes a value has to those before, here those of
-- a row or of an array. Only a superuser may name the server's own functions: elsewhere examples are read
-- by record_send and array_send (trainer/loop/reading.py).
DO $$
BEGIN
    IF (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user) THEN
        -- No search_path: they call nothing, and to set one would take longer than they do.
        CREATE OR REPLACE FUNCTION rescore._append_row(internal, fields record, separator bytea)
        RETURNS internal
        LANGUAGE internal IMMUTABLE PARALLEL SAFE
        AS 'bytea_string_agg_transfn';
        COMMENT ON FUNCTION rescore._append_row(internal, record, bytea) IS 'A step of rescore._joined.';
        CREATE OR REPLACE AGGREGATE rescore._joined(fields record, separator bytea) (
            SFUNC = rescore._append_row, STYPE = internal, FINALFUNC = pg_catalog.bytea_string_agg_finalfn, PARALLEL = SAFE
        );
        COMMENT ON AGGREGATE rescore._joined(record, bytea) IS
            'The bytes of rows as this server keeps them, one after the other, each with its header (Database Page Layout in PostgreSQL''s manual) and without its length, with a separator or NULL between; a row that is NULL is left out.';
        CREATE OR REPLACE FUNCTION rescore._append_row(internal, numbers double precision[], separator bytea)
        RETURNS internal
        LANGUAGE internal IMMUTABLE PARALLEL SAFE
        AS 'bytea_string_agg_transfn';
        COMMENT ON FUNCTION rescore._append_row(internal, double precision[], bytea) IS 'A step of rescore._joined.';
        CREATE OR REPLACE AGGREGATE rescore._joined(numbers double precision[], separator bytea) (
            SFUNC = rescore._append_row, STYPE = internal, FINALFUNC = pg_catalog.bytea_string_agg_finalfn, PARALLEL = SAFE
        );
        COMMENT ON AGGREGATE rescore._joined(double precision[], bytea) IS
            'The bytes of arrays as this server keeps them, one after the other, each with five integers that say how long it is before its numbers, with a separator or NULL between; an array that is NULL is left out.';
    END IF;
END
$$;
