-- The newest snapshots, resolved or not, newest first; see learn_batch.sql. What is not asked of them is not read.
-- Of a round with more customers than are asked for, a share of them is read (of 65536), by a hash that is quick to
-- compute. Calls nothing; reads rescore.snapshots.
SELECT s.hash, s.key, s.id, '0'::pg_catalog.xid8 AS resolved, s.taken_at, s.taken_at AS due_at, s.label, s.score, s.holdout, s.treated_at, s.design
FROM rescore.snapshots AS s
WHERE s.model = {model} AND s.quarantined IS NULL AND s.version = ANY ({versions}) AND (NOT {resolved} OR s.label IS NOT NULL)
  AND s.taken_at > {since} AND pg_catalog.hashtextextended(s.key, 0) & 65535 < {share}
ORDER BY s.taken_at DESC, s.key DESC LIMIT {size}
