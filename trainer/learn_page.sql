-- Examples as one row: each column one array in binary form, so that nobody reads number by number
-- (trainer/loop/packed.py). The hash is kept since 077_resolve.sql keeps it. Scores and treatments only where they
-- are asked for (`scored`).
-- Calls rescore._hash and `packed`: rescore._packed, or array_send where that is not there.
-- Reads what the examples read: learn_batch.sql, learn_tests.sql, learn_recent.sql.
SELECT coalesce(pg_catalog.bool_and(e.is_example), true), pg_catalog.count(*),
       pg_catalog.string_agg(coalesce(e.hash, rescore._hash({salt}, e.key)), ''),
       {packed}(pg_catalog.array_agg(e.id)), {packed}(pg_catalog.array_agg(e.resolved)),
       {packed}(pg_catalog.array_agg(e.taken_at)), {packed}(pg_catalog.array_agg(e.due_at)),
       {packed}(pg_catalog.array_agg(e.label)), {packed}(pg_catalog.array_agg(e.score) FILTER (WHERE {scored})),
       {packed}(pg_catalog.array_agg(e.holdout)), {packed}(pg_catalog.array_agg(e.treated) FILTER (WHERE {scored})),
       {packed}(pg_catalog.array_agg(e.design))
FROM (
{examples}
) AS e
