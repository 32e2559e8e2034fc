-- The next examples after a position, in the order in which they were resolved. What resolved them has
-- ended for everybody (`bound`), so that nothing can come between any more.
-- Calls nothing; reads rescore.snapshots.
SELECT s.hash, s.key, s.id, s.resolved, s.taken_at, s.due_at, coalesce(s.label, 0) AS label, coalesce(s.score, 'NaN') AS score,
       coalesce(s.holdout, false) AS holdout, s.treated_at IS NOT NULL AS treated, s.design
FROM rescore.snapshots AS s
WHERE s.model = {model} AND (s.resolved, s.id) > ({xid}::text::pg_catalog.xid8, {id}::pg_catalog.int8) AND s.resolved < {bound}::text::pg_catalog.xid8
  AND s.resolved IS NOT NULL AND (s.label IS NOT NULL OR NOT {labelled}) AND NOT s.censored AND s.quarantined IS NULL AND (s.treated_at IS NULL OR {weigh})
  AND s.version = ANY ({versions}) AND s.taken_at > {after}
ORDER BY s.resolved, s.id LIMIT {size}
