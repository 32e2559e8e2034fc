-- Sets the clock of the session to a moment. Calls nothing; reads no table.
SELECT pg_catalog.set_config('rescore.clock', %s::pg_catalog.timestamptz::pg_catalog.text, false)
