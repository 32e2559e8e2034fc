-- The next examples after a position, in the order in which they were resolved, as one row of
-- arrays in binary form. What resolved them has ended for everybody (`bound`), so that nothing can
-- come between any more. One row is all there is to read; see trainer/loop/block.py.
-- Calls nothing; reads rescore.snapshots and rescore.released.
SELECT pg_catalog.array_agg(b.key), pg_catalog.array_send(pg_catalog.array_agg(b.id)), pg_catalog.array_send(pg_catalog.array_agg(b.xid)),
       pg_catalog.array_send(pg_catalog.array_agg(b.taken)), pg_catalog.array_send(pg_catalog.array_agg(b.due)),
       pg_catalog.array_send(pg_catalog.array_agg(b.label)), pg_catalog.array_send(pg_catalog.array_agg(b.score)),
       pg_catalog.array_send(pg_catalog.array_agg(b.released)), pg_catalog.array_send(pg_catalog.array_agg(b.holdout)),
       pg_catalog.array_send(pg_catalog.array_agg(b.design))
FROM (
    SELECT s.key, s.id, s.resolved::text::pg_catalog.int8 AS xid, s.design, s.label,
           extract(epoch FROM s.taken_at)::pg_catalog.float8 AS taken, extract(epoch FROM s.due_at)::pg_catalog.float8 AS due,
           coalesce(s.score, 'NaN') AS score, coalesce(s.holdout, false)::pg_catalog.int4::pg_catalog.float8 AS holdout,
           EXISTS (SELECT FROM rescore.released AS r WHERE r.model = s.model AND r.id = s.id)::pg_catalog.int4::pg_catalog.float8 AS released
    FROM rescore.snapshots AS s
    WHERE s.model = %(model)s AND (s.resolved, s.id) > (%(xid)s::text::pg_catalog.xid8, %(id)s) AND s.resolved < %(bound)s::text::pg_catalog.xid8
      AND s.resolved IS NOT NULL AND s.label IS NOT NULL AND NOT s.censored AND s.quarantined IS NULL AND s.treated_at IS NULL
      AND s.version = ANY (%(versions)s) AND s.taken_at > %(after)s
    ORDER BY s.resolved, s.id LIMIT %(size)s
) AS b
