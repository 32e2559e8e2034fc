-- Snapshots that a version scored whose outcome is not known yet, and when the first one's may be.
-- Calls nothing; reads rescore.snapshots.
SELECT pg_catalog.count(*), pg_catalog.min(s.due_at)
FROM rescore.snapshots AS s
WHERE s.model = %(model)s AND s.resolved IS NULL AND (s.version = %(version)s OR s.others ? %(version)s::pg_catalog.text)
  AND (%(since)s::pg_catalog.timestamptz IS NULL OR s.taken_at >= %(since)s::pg_catalog.timestamptz)
