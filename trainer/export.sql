-- The same examples as examples.sql, with their keys and moments, for files, which have the names: of the
-- server's, only 63 bytes remain.
-- Calls rescore_compiled.<profile>__as_of and <profile>__outcomes; reads no table itself.
WITH example AS MATERIALIZED (
    SELECT past.*, {moment}::pg_catalog.timestamptz AS rescore_clock
    FROM {as_of}({moment}::pg_catalog.timestamptz) AS past
), asked AS (
    SELECT pg_catalog.array_agg(example.rescore_key) AS keys,
           pg_catalog.array_agg(example.rescore_clock) AS moments
    FROM example
)
SELECT example.rescore_key, example.rescore_clock,
       {columns},
       outcome.rescore_label
FROM asked
CROSS JOIN LATERAL {outcomes}({label}, asked.keys, asked.moments, {until}::pg_catalog.timestamptz) AS outcome
JOIN example ON example.rescore_key = outcome.rescore_key
WHERE outcome.rescore_label IS NOT NULL AND outcome.rescore_treated IS NULL
ORDER BY example.rescore_key
