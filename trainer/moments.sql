-- Past moments to learn from, oldest first: `until` minus 1, 2, 3 … steps, kept while the label's
-- horizon had ended by `until` and there had been an event of the label before.
-- Calls nothing; reads the label's event table.
SELECT kept.at, kept.settled
FROM (
    SELECT past.at, past.at + %(within)s::pg_catalog.interval AS settled
    FROM (
        SELECT %(until)s::pg_catalog.timestamptz - step.n * %(step)s::pg_catalog.interval AS at
        FROM pg_catalog.generate_series(0, 10000) AS step (n)
    ) AS past
    WHERE past.at + %(within)s::pg_catalog.interval <= %(until)s::pg_catalog.timestamptz
      AND past.at >= (SELECT pg_catalog.min({time}) FROM {relation} AS e)
    ORDER BY past.at DESC
    LIMIT %(most)s
) AS kept
ORDER BY kept.at
