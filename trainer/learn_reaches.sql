-- Whether there are so many examples after a position; see learn_batch.sql. Calls nothing; reads rescore.snapshots.
SELECT EXISTS (SELECT FROM rescore.snapshots AS s
    WHERE s.model = {model} AND (s.resolved, s.id) > ({xid}::text::pg_catalog.xid8, {id}::pg_catalog.int8) AND s.resolved < {bound}::text::pg_catalog.xid8
      AND s.resolved IS NOT NULL AND {is_example}
    ORDER BY s.resolved, s.id OFFSET {size} - 1 LIMIT 1)
