-- Whether rescore's tables are there. Calls nothing; reads pg_catalog.
SELECT pg_catalog.to_regclass('rescore.models') IS NOT NULL
