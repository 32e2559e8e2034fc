-- The share of a key: a number in [0, 1), the one that trainer/learning/hashing.py gives.
-- For queries, not for indexes: convert_to is only stable.
-- Calls nothing; reads no table.
SELECT ('x' || pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(
           {salt}::pg_catalog.text || ':' || ({key})::pg_catalog.text, 'UTF8')), 'hex'), 13)
       )::pg_catalog.bit(52)::pg_catalog.int8::pg_catalog.float8 / 4503599627370496 AS share
