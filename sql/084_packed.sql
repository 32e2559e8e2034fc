-- Arrays as they stand in memory, for who reads many numbers.
-- Calls: nothing. Tables: none.

-- array_send calls a function for each number, which takes longer than to find and to learn the example
-- it is of; byteasend copies whatever bytes a value has, here those of an array. Only a superuser may name
-- the server's own functions: elsewhere examples are read by array_send (trainer/loop/reading.py).
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
    END IF;
END
$$;
