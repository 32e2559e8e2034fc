-- The newest snapshots, resolved or not, newest first; see learn_batch.sql. What is not asked of them is not read.
-- Calls nothing; reads rescore.snapshots.
SELECT s.hash, s.key, s.id, '0'::pg_catalog.xid8 AS resolved, s.taken_at, s.taken_at AS due_at, s.label, s.score, s.holdout, s.treated_at, s.design
FROM rescore.snapshots AS s
WHERE s.model = {model} AND s.quarantined IS NULL AND s.version = ANY ({versions}) AND (NOT {resolved} OR s.label IS NOT NULL)
ORDER BY s.taken_at DESC, s.key DESC LIMIT {size}
