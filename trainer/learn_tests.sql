-- The newest examples up to a position of customers nobody learns from, newest first, as one row
-- of arrays; see learn_batch.sql.
-- Calls rescore.share; reads rescore.snapshots.
SELECT pg_catalog.array_agg(b.key), pg_catalog.array_send(pg_catalog.array_agg(b.id)), pg_catalog.array_send(pg_catalog.array_agg(b.xid)),
       pg_catalog.array_send(pg_catalog.array_agg(b.taken)), pg_catalog.array_send(pg_catalog.array_agg(b.due)),
       pg_catalog.array_send(pg_catalog.array_agg(b.label)), pg_catalog.array_send(pg_catalog.array_agg(b.score)),
       pg_catalog.array_send(pg_catalog.array_agg(0::pg_catalog.float8)), pg_catalog.array_send(pg_catalog.array_agg(b.holdout)),
       pg_catalog.array_send(pg_catalog.array_agg(b.design))
FROM (
    SELECT s.key, s.id, s.resolved::text::pg_catalog.int8 AS xid, s.design, s.label,
           extract(epoch FROM s.taken_at)::pg_catalog.float8 AS taken, extract(epoch FROM s.due_at)::pg_catalog.float8 AS due,
           coalesce(s.score, 'NaN') AS score, coalesce(s.holdout, false)::pg_catalog.int4::pg_catalog.float8 AS holdout
    FROM rescore.snapshots AS s
    WHERE s.model = %(model)s AND (s.resolved, s.id) <= (%(xid)s::text::pg_catalog.xid8, %(id)s)
      AND s.resolved IS NOT NULL AND s.label IS NOT NULL AND NOT s.censored AND s.quarantined IS NULL AND s.treated_at IS NULL
      AND s.version = ANY (%(versions)s) AND s.taken_at > %(after)s AND s.taken_at >= %(since)s
      AND rescore.share(%(salt)s, s.key) < %(share)s
    ORDER BY s.resolved DESC, s.id DESC LIMIT %(size)s
) AS b
