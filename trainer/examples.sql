-- The examples of one moment: each profile row as it stood then, as a design row computed by the
-- expressions that score, and whether the label's event happened in the horizon after it.
-- No event after the moment is in the features: the as-of function takes the moment.
-- Calls rescore_compiled.<profile>__as_of; reads the label's event table (and its link's).
SELECT ARRAY[{columns}]::pg_catalog.float8[] AS design,
       (occurred.rescore_key IS NOT NULL)::pg_catalog.int4 AS happened
FROM (
    SELECT past.*, {moment}::pg_catalog.timestamptz AS rescore_clock
    FROM {as_of}({moment}::pg_catalog.timestamptz) AS past
) AS example
LEFT JOIN (
    SELECT DISTINCT {key} AS rescore_key
    FROM {relation} AS e {join}
    WHERE {time} > {moment}::pg_catalog.timestamptz + {after}::pg_catalog.interval
      AND {time} <= {moment}::pg_catalog.timestamptz + {within}::pg_catalog.interval
      AND ({condition})
) AS occurred ON occurred.rescore_key = example.rescore_key
ORDER BY example.rescore_key
