-- Whether a text is an interval above zero; fails when it is none. Calls nothing; reads no table.
SELECT %s::pg_catalog.interval > pg_catalog.interval '0'
