-- How many examples there are after a position, counted no further than `most`; see learn_batch.sql.
-- Calls nothing; reads rescore.snapshots.
SELECT pg_catalog.count(*) FROM (
    SELECT FROM rescore.snapshots AS s
    WHERE s.model = {model} AND (s.resolved, s.id) > ({xid}::text::pg_catalog.xid8, {id}::pg_catalog.int8) AND s.resolved < {bound}::text::pg_catalog.xid8
      AND s.resolved IS NOT NULL AND {is_example}
    LIMIT {most}) AS n
