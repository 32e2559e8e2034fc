-- The server process of a session. Reads no table.
SELECT pg_catalog.pg_backend_pid()
