-- The newest examples up to a position of customers nobody learns from, newest first; see learn_batch.sql.
-- Whose hash is below `share`, as bytes, is tested on. Calls rescore._hash; reads rescore.snapshots.
SELECT s.hash, s.key, s.id, s.resolved, s.taken_at, s.due_at, coalesce(s.label, 0) AS label, coalesce(s.score, 'NaN') AS score,
       coalesce(s.holdout, false) AS holdout, s.treated_at IS NOT NULL AS treated, s.design, true AS is_example
FROM rescore.snapshots AS s
WHERE s.model = {model} AND (s.resolved, s.id) <= ({xid}::text::pg_catalog.xid8, {id}::pg_catalog.int8)
  AND s.resolved IS NOT NULL AND (s.label IS NOT NULL OR NOT {labelled}) AND NOT s.censored AND s.quarantined IS NULL AND (s.treated_at IS NULL OR {weigh})
  AND s.version = ANY ({versions}) AND s.taken_at > {after} AND s.taken_at >= {since}
  AND coalesce(s.hash, rescore._hash({salt}, s.key)) < {share}
ORDER BY s.resolved DESC, s.id DESC LIMIT {size}
