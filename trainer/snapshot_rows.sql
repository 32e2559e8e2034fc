-- About how many rows a profile has. Calls nothing; reads rescore.profiles and the catalogue.
SELECT greatest(c.reltuples, 0)::pg_catalog.int8
FROM rescore.profiles AS p
JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(pg_catalog.format('%%I.%%I', p.table_schema, p.table_name))
WHERE p.profile = %s
