-- The most frequent values of a categorical input over the examples of all training moments.
-- Calls rescore_compiled.<profile>__as_of; reads no table itself.
SELECT frequent.value
FROM (
    SELECT past.{name}::pg_catalog.text AS value
    FROM pg_catalog.unnest({moments}::pg_catalog.timestamptz[]) AS training (at)
    CROSS JOIN LATERAL {as_of}(training.at) AS past
) AS frequent
WHERE frequent.value IS NOT NULL
GROUP BY frequent.value
ORDER BY pg_catalog.count(*) DESC, frequent.value
LIMIT {most}
