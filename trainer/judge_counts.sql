-- What a version scored as champion, how much of it is open, and up to which transaction outcomes count.
-- Calls rescore._ended; reads rescore.snapshots.
SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE s.resolved IS NULL OR s.resolved >= b.bound), pg_catalog.tstzrange(pg_catalog.min(s.taken_at), pg_catalog.max(s.taken_at), '[]'),
       (SELECT (rescore._ended()::pg_catalog.text::pg_catalog.numeric - 1)::pg_catalog.text)
FROM rescore.snapshots AS s CROSS JOIN (SELECT rescore._ended() AS bound OFFSET 0) AS b
WHERE s.model = %(model)s AND s.version = %(version)s AND s.serving = 'champion' AND s.taken_at >= %(began)s
