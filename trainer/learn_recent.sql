-- The newest snapshots, resolved or not, newest first; see learn_batch.sql.
-- Calls nothing; reads rescore.snapshots.
SELECT pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to({salt} || ':' || s.key, 'UTF8')), 1, 8), s.id, '0'::pg_catalog.xid8, pg_catalog.date_part('epoch', s.taken_at),
       pg_catalog.date_part('epoch', s.taken_at), coalesce(s.label, 'NaN'), coalesce(s.score, 'NaN'), false, false, false, s.design
FROM rescore.snapshots AS s
WHERE s.model = {model} AND s.quarantined IS NULL AND s.version = ANY ({versions}) AND (NOT {resolved} OR s.label IS NOT NULL)
ORDER BY s.taken_at DESC, s.key DESC LIMIT {size}
