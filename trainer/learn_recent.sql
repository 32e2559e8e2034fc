-- The newest snapshots, resolved or not, newest first, as one row of arrays; see learn_batch.sql.
-- Calls nothing; reads rescore.snapshots.
SELECT pg_catalog.array_agg(b.key), pg_catalog.array_send(pg_catalog.array_agg(b.id)), pg_catalog.array_send(pg_catalog.array_agg(b.xid)),
       pg_catalog.array_send(pg_catalog.array_agg(b.taken)), pg_catalog.array_send(pg_catalog.array_agg(b.taken)),
       pg_catalog.array_send(pg_catalog.array_agg(b.label)), pg_catalog.array_send(pg_catalog.array_agg(b.score)),
       pg_catalog.array_send(pg_catalog.array_agg(0::pg_catalog.float8)), pg_catalog.array_send(pg_catalog.array_agg(0::pg_catalog.float8)),
       pg_catalog.array_send(pg_catalog.array_agg(b.design))
FROM (
    SELECT s.key, s.id, 0::pg_catalog.int8 AS xid, s.design, coalesce(s.label, 'NaN') AS label, coalesce(s.score, 'NaN') AS score,
           extract(epoch FROM s.taken_at)::pg_catalog.float8 AS taken
    FROM rescore.snapshots AS s
    WHERE s.model = %(model)s AND s.quarantined IS NULL AND s.version = ANY (%(versions)s)
      AND (NOT %(resolved)s OR s.label IS NOT NULL)
    ORDER BY s.taken_at DESC, s.key DESC LIMIT %(size)s
) AS b
