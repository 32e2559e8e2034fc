-- Some keys of a profile. Calls nothing; reads the profile table.
SELECT p.{key}::pg_catalog.text FROM {relation} AS p LIMIT %s
