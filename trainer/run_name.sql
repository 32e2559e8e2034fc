-- What the runner's session is called in pg_stat_activity. Calls nothing; reads no table.
SELECT pg_catalog.set_config('application_name', %s, false)
