-- Moments the user named, oldest first, each with the end of the label's horizon.
-- Calls nothing; reads no table.
SELECT named.at, named.at + pg_catalog.make_interval(secs => %(seconds)s) AS settled
FROM (SELECT DISTINCT pg_catalog.unnest(%(moments)s::pg_catalog.timestamptz[]) AS at) AS named
WHERE named.at + pg_catalog.make_interval(secs => %(seconds)s) <= %(until)s::pg_catalog.timestamptz
ORDER BY named.at
