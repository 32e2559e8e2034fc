-- The next examples after a position, in the order in which they were resolved. What resolved them has
-- ended for everybody (`bound`), so that nothing can come between any more. With `whole`, also what is no
-- example: who finds none of it need not look for it a second time. Whole rows: to choose columns costs.
-- Calls nothing; reads rescore.snapshots.
SELECT s.*
FROM rescore.snapshots AS s
WHERE s.model = {model} AND (s.resolved, s.id) > ({xid}::text::pg_catalog.xid8, {id}::pg_catalog.int8) AND s.resolved < {bound}::text::pg_catalog.xid8
  AND s.resolved IS NOT NULL AND ({whole} OR {is_example})
ORDER BY s.resolved, s.id LIMIT {size}
