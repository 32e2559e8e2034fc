-- Sets the clock that profiles with `clock: session` go by, in this session; seconds since 1970.
-- Calls nothing; touches no table.
SELECT pg_catalog.date_part('epoch', pg_catalog.set_config('rescore.clock', (%s::pg_catalog.timestamptz)::pg_catalog.text, false)::pg_catalog.timestamptz)
