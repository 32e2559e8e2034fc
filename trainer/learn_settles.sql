-- When the outcomes of the first micro-batch behind a position could all be known; null where it is not full.
-- See learn_batch.sql. Calls nothing; reads rescore.snapshots.
SELECT CASE WHEN pg_catalog.count(*) = {batch} THEN pg_catalog.max(f.due_at) END FROM (
    SELECT s.due_at FROM rescore.snapshots AS s
    WHERE s.model = {model} AND (s.resolved, s.id) > ({xid}::text::pg_catalog.xid8, {id}::pg_catalog.int8) AND s.resolved < {bound}::text::pg_catalog.xid8
      AND s.resolved IS NOT NULL AND {is_example}
    ORDER BY s.resolved, s.id LIMIT {batch}) AS f
