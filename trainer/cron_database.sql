-- The database whose jobs pg_cron runs; NULL when its library is not loaded. Calls nothing; reads no table.
SELECT pg_catalog.current_setting('cron.database_name', true)
