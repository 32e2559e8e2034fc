-- The share of a key: which customers are held out, tested on, or served by a challenger; and the hash it is of.
-- Calls: nothing. Tables: none.

CREATE OR REPLACE FUNCTION rescore.share(salt text, key text)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- convert_to is stable only because conversions may be redefined; UTF8's own are not.
    SELECT ('x' || left(encode(sha256(convert_to(salt || ':' || key, 'UTF8')), 'hex'), 13))::bit(52)::bigint::double precision / 4503599627370496
$$;
COMMENT ON FUNCTION rescore.share(text, text) IS
    'A number from 0 (inclusive) to 1 (exclusive) that is always the same for a key, and unrelated for another salt; rescore.trainer.learning.hashing.shares gives the same.';

-- Inlined, hence without SET, and stable as convert_to is: it costs what its body does.
CREATE OR REPLACE FUNCTION rescore._hash(salt text, key text)
RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to(salt || ':' || key, 'UTF8')), 1, 8);

COMMENT ON FUNCTION rescore._hash(text, text) IS
    'Eight bytes that are always the same for a key, and unrelated for another salt; rescore.share is their first 52 bits, as a number. Snapshots keep that of "learn MODEL".';
