-- Whether the database has PL/Python. Calls nothing; reads pg_catalog.
SELECT EXISTS (SELECT FROM pg_catalog.pg_language WHERE lanname = 'plpython3u')
