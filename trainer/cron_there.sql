-- Whether this database has pg_cron. Reads pg_extension.
SELECT EXISTS (SELECT FROM pg_catalog.pg_extension AS e WHERE e.extname = 'pg_cron')
