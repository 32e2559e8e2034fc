-- The latest moment of the micro-batch behind a position that was resolved last; null where nothing is behind it.
-- See learn_batch.sql. Calls nothing; reads rescore.snapshots.
SELECT pg_catalog.max(n.taken_at) FROM (
    SELECT s.taken_at FROM rescore.snapshots AS s
    WHERE s.model = {model} AND (s.resolved, s.id) > ({xid}::text::pg_catalog.xid8, {id}::pg_catalog.int8) AND s.resolved < {bound}::text::pg_catalog.xid8
      AND s.resolved IS NOT NULL AND {is_example}
    ORDER BY s.resolved DESC, s.id DESC LIMIT {batch}) AS n
