-- Whether a profile has the function that answers for its labels. Calls nothing; reads the catalogue.
SELECT pg_catalog.to_regproc(pg_catalog.format('rescore_compiled.%%I', %s::pg_catalog.text)) IS NOT NULL
