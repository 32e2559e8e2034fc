-- Past moments to learn from, oldest first: `until` minus 1, 2, 3 and more steps, kept while the label's
-- horizon had ended by `until` and there had been an event of the label before.
-- Calls rescore_compiled.<profile>__outcomes_begin; reads no table itself.
SELECT kept.at, kept.settled
FROM (
    SELECT past.at, past.at + pg_catalog.make_interval(secs => %(seconds)s) AS settled
    FROM (
        SELECT %(until)s::pg_catalog.timestamptz - step.n * %(step)s::pg_catalog.interval AS at
        FROM pg_catalog.generate_series(0, 10000) AS step (n)
    ) AS past
    WHERE past.at + pg_catalog.make_interval(secs => %(seconds)s) <= %(until)s::pg_catalog.timestamptz
      AND past.at >= (SELECT {begin}(%(label)s::pg_catalog.text))
    ORDER BY past.at DESC
    LIMIT %(most)s
) AS kept
ORDER BY kept.at
