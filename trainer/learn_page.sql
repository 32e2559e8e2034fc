-- Examples as one row: each column one array in binary form, so that nobody reads number by number
-- (trainer/loop/packed.py). The hash is that of rescore.share, whose share are the first 52 bits; it is kept
-- since 077_resolve.sql keeps it. Scores and treatments only where they are asked for (`scored`).
-- Calls rescore._hash (016_share.sql); `packed`: rescore._packed, and in `rows` rescore._joined; array_send where these are not there.
-- Reads what the examples read: learn_batch.sql, learn_tests.sql, learn_recent.sql.
SELECT coalesce(pg_catalog.bool_and({all_are}), true), pg_catalog.count(*),
       pg_catalog.string_agg(coalesce(s.hash, rescore._hash({salt}, s.key)), ''),
       {packed}(pg_catalog.array_agg(s.id)), {packed}(pg_catalog.array_agg(s.resolved)),
       {packed}(pg_catalog.array_agg(s.taken_at)), {packed}(pg_catalog.array_agg(s.due_at)),
       {packed}(pg_catalog.array_agg(coalesce(s.label, {unlabelled}))), {packed}(pg_catalog.array_agg(coalesce(s.score, 'NaN')) FILTER (WHERE {scored})),
       {packed}(pg_catalog.array_agg(coalesce(s.holdout, false))), {packed}(pg_catalog.array_agg(s.treated_at IS NOT NULL) FILTER (WHERE {scored})),
       {rows}
FROM (
{examples}
) AS s
