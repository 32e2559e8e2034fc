-- What the versions said of moments whose outcome is known. Calls nothing; reads rescore.snapshots.
SELECT s.key, s.taken_at, s.label, s.version, s.score, s.others
FROM rescore.snapshots AS s
WHERE s.model = %s AND s.resolved IS NOT NULL AND s.label IS NOT NULL AND s.taken_at >= %s AND s.taken_at < %s
ORDER BY s.taken_at, s.id
