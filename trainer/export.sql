-- The same examples as examples.sql, with their keys and names, for files.
-- Calls rescore_compiled.<profile>__as_of; reads the label's event table (and its link's).
SELECT example.rescore_key AS {key_name}, {moment}::pg_catalog.timestamptz AS moment,
       {columns},
       ((occurred.rescore_key IS NOT NULL) <> {absence})::pg_catalog.int4 AS label
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
