-- The examples of one moment: each profile row as it stood then, as a design row computed by the
-- expressions that score, and the label that followed, as known at the present of the training.
-- No event after the moment is in the features: the as-of function takes the moment. Outcomes that
-- cannot be known are left out; so are customers treated within the horizon, unless `weigh`: then
-- those held out are to be told from the others.
-- Calls rescore_compiled.<profile>__as_of and <profile>__outcomes, rescore.share; reads no table itself.
WITH example AS MATERIALIZED (
    SELECT past.*, {moment}::pg_catalog.timestamptz AS rescore_clock
    FROM {as_of}({moment}::pg_catalog.timestamptz) AS past
), asked AS (
    SELECT pg_catalog.array_agg(example.rescore_key) AS keys,
           pg_catalog.array_agg(example.rescore_clock) AS moments
    FROM example
)
SELECT ARRAY[{columns}]::pg_catalog.float8[] AS design, outcome.rescore_label AS label,
       outcome.rescore_treated IS NOT NULL AS treated, rescore.share({salt}, example.rescore_key::text) < {held_out} AS holdout
FROM asked
CROSS JOIN LATERAL {outcomes}({label}, asked.keys, asked.moments, {until}::pg_catalog.timestamptz) AS outcome
JOIN example ON example.rescore_key = outcome.rescore_key
WHERE outcome.rescore_label IS NOT NULL AND (outcome.rescore_treated IS NULL OR {weigh})
ORDER BY example.rescore_key
