-- The transaction that last resolved a snapshot of a model. Calls nothing; reads rescore.snapshots.
SELECT s.resolved::pg_catalog.text FROM rescore.snapshots AS s
WHERE s.model = %s AND s.resolved IS NOT NULL ORDER BY s.resolved DESC LIMIT 1
