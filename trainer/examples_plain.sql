-- The rows of one moment for a model that learns without a label: each profile row as it stood then,
-- as a design row computed by the expressions that score. Nothing of what followed is asked for.
-- Calls rescore_compiled.<profile>__as_of; reads no table itself.
WITH example AS MATERIALIZED (
    SELECT past.*, {moment}::pg_catalog.timestamptz AS rescore_clock
    FROM {as_of}({moment}::pg_catalog.timestamptz) AS past
)
SELECT ARRAY[{columns}]::pg_catalog.float8[] AS design, 0::pg_catalog.float8 AS label, false AS treated, false AS holdout
FROM example ORDER BY example.rescore_key
