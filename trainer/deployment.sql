-- A model's inputs and engine, and whether the database can run Python for it.
-- Calls nothing; reads rescore.deployments.
SELECT d.inputs, d.engine, pg_catalog.to_regproc('rescore._prove') IS NOT NULL
FROM rescore.deployments AS d
WHERE d.model = %s
