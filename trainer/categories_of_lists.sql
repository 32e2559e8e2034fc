-- The most frequent values in the lists of an input over the examples of all training moments.
-- Calls rescore_compiled.<profile>__as_of; reads no table itself.
SELECT frequent.value
FROM pg_catalog.unnest({moments}::pg_catalog.timestamptz[]) AS training (at)
CROSS JOIN LATERAL {as_of}(training.at) AS past
CROSS JOIN LATERAL pg_catalog.unnest(past.{name}) AS frequent (value)
GROUP BY frequent.value
ORDER BY pg_catalog.count(*) DESC, frequent.value
LIMIT {most}
