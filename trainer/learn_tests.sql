-- The newest examples up to a position of customers nobody learns from, newest first; see learn_batch.sql. Or, by `order`,
-- in the order of their hashes: some of a round of many. Whose hash is below `share`, as bytes, is tested on. Calls rescore._hash; reads rescore.snapshots.
SELECT s.*
FROM rescore.snapshots AS s
WHERE s.model = {model} AND (s.resolved, s.id) <= ({xid}::text::pg_catalog.xid8, {id}::pg_catalog.int8)
  AND s.resolved IS NOT NULL AND {is_example} AND s.taken_at >= {since} AND s.taken_at <= {until}
  AND coalesce(s.hash, rescore._hash({salt}, s.key)) < {share}
ORDER BY {order} LIMIT {size}
