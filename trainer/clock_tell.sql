-- Notifies a channel of a moment. Calls and touches nothing else.
SELECT pg_catalog.pg_notify(%s, %s)
