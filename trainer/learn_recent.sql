-- The newest snapshots, resolved or not; see learn_batch.sql. What is not asked of them is not read. `order`: newest first,
-- or by a hash of the customers that is quick to compute, which chooses some of a round of many in one pass over it.
-- Calls nothing; reads rescore.snapshots.
SELECT s.hash, s.key, s.id, '0'::pg_catalog.xid8 AS resolved, s.taken_at, s.taken_at AS due_at, s.label, s.score, s.holdout, s.treated_at, s.design
FROM rescore.snapshots AS s
WHERE s.model = {model} AND s.quarantined IS NULL AND s.version = ANY ({versions}::pg_catalog.int4[]) AND (NOT {resolved} OR s.label IS NOT NULL)
  AND s.taken_at > {since} AND s.taken_at <= {until}
ORDER BY {order} LIMIT {size}
