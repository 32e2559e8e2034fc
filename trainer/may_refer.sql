-- Whether this role may keep with a version what drift is told against. Calls nothing; reads no table.
SELECT pg_catalog.has_schema_privilege('rescore', 'usage') AND pg_catalog.has_table_privilege('rescore.snapshots', 'select')
       AND pg_catalog.has_table_privilege('rescore.models', 'select')
       AND pg_catalog.has_function_privilege('rescore._record_lineage(text, integer, jsonb)', 'execute')
