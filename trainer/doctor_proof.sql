-- Whether rescore's Python functions are installed. Calls nothing; reads pg_catalog.
SELECT pg_catalog.to_regproc('rescore._prove') IS NOT NULL
