-- The next examples after a position, in the order in which they were resolved. What resolved them has
-- ended for everybody (`bound`), so that nothing can come between any more. With `whole`, also what is no
-- example: who finds none of it need not look for it a second time.
-- Calls nothing; reads rescore.snapshots.
SELECT s.hash, s.key, s.id, s.resolved, s.taken_at, s.due_at, coalesce(s.label, 0) AS label, coalesce(s.score, 'NaN') AS score,
       coalesce(s.holdout, false) AS holdout, s.treated_at IS NOT NULL AS treated, s.design, s.is_example
FROM (SELECT a.*, (a.label IS NOT NULL OR NOT {labelled}) AND NOT a.censored AND a.quarantined IS NULL AND (a.treated_at IS NULL OR {weigh})
                  AND a.version = ANY ({versions}) AND a.taken_at > {after} AS is_example
      FROM rescore.snapshots AS a) AS s
WHERE s.model = {model} AND (s.resolved, s.id) > ({xid}::text::pg_catalog.xid8, {id}::pg_catalog.int8) AND s.resolved < {bound}::text::pg_catalog.xid8
  AND s.resolved IS NOT NULL AND ({whole} OR s.is_example)
ORDER BY s.resolved, s.id LIMIT {size}
