-- A model's inputs and engine, and whether the database can run Python for it.
-- Calls nothing; reads rescore.deployments.
-- A retired input is read by the serving version only: no new version takes it.
SELECT pg_catalog.jsonb_path_query_array(d.inputs, '$[*] ? (!(exists(@.retired)))'), d.engine, pg_catalog.to_regproc('rescore._prove') IS NOT NULL
FROM rescore.deployments AS d
WHERE d.model = %s
