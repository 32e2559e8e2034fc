-- How many seconds an interval has; fails when the text is none. Calls nothing; reads no table.
SELECT pg_catalog.date_part('epoch', %s::pg_catalog.interval)
