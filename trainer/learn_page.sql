-- Examples as one row: each column joined in its binary form, so that nobody reads number by number
-- (trainer/loop/block.py). The hash is that of rescore.share, whose share are the first 52 bits; it is kept
-- since 077_resolve.sql keeps it. Scores and treatments only where they are asked for (`scored`).
-- Calls nothing; reads what the examples read: learn_batch.sql, learn_tests.sql, learn_recent.sql.
SELECT pg_catalog.count(*), pg_catalog.string_agg(coalesce(e.hash, pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to({salt} || ':' || e.key, 'UTF8')), 1, 8)), ''),
       pg_catalog.string_agg(pg_catalog.int8send(e.id), ''), pg_catalog.string_agg(pg_catalog.xid8send(e.resolved), ''),
       pg_catalog.string_agg(pg_catalog.timestamptz_send(e.taken_at), ''), pg_catalog.string_agg(pg_catalog.timestamptz_send(e.due_at), ''),
       pg_catalog.string_agg(pg_catalog.float8send(e.label), ''), pg_catalog.string_agg(pg_catalog.float8send(e.score), '') FILTER (WHERE {scored}),
       pg_catalog.string_agg(pg_catalog.boolsend(e.holdout), ''), pg_catalog.string_agg(pg_catalog.boolsend(e.treated), '') FILTER (WHERE {scored}),
       pg_catalog.string_agg(pg_catalog.array_send(e.design), '')
FROM (
{examples}
) AS e
