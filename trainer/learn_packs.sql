-- Whether rows can be read as they stand in memory. Calls nothing; reads no table.
SELECT coalesce(pg_catalog.has_function_privilege(pg_catalog.to_regprocedure('rescore._joined(record, bytea)'), 'EXECUTE')
            AND pg_catalog.has_function_privilege(pg_catalog.to_regprocedure('rescore._joined(double precision[], bytea)'), 'EXECUTE'), false)
