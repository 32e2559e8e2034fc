-- What a version scored as champion, how much of it is open, and up to which transaction outcomes count.
-- Calls rescore._ended; reads rescore.snapshots.
WITH b AS MATERIALIZED (SELECT rescore._ended() AS bound)
SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE s.resolved IS NULL OR s.resolved >= b.bound), pg_catalog.tstzrange(pg_catalog.min(s.taken_at), pg_catalog.max(s.taken_at), '[]'),
       (SELECT (b.bound::pg_catalog.text::pg_catalog.int8 - 1)::pg_catalog.text FROM b)
FROM rescore.snapshots AS s CROSS JOIN b
WHERE s.model = %(model)s AND s.version = %(version)s AND s.serving = 'champion' AND s.taken_at >= %(began)s
