-- A model's inputs and engine, whether the database can run Python for it, and the features whose past
-- is unknown, which examples leave out. Of a defined model only. Calls rescore._defines; reads rescore.deployments, rescore.profiles.
-- A retired input is read by the serving version only: no new version takes it.
SELECT pg_catalog.jsonb_path_query_array(d.inputs, '$[*] ? (!(exists(@.retired)))'), d.engine,
       pg_catalog.to_regproc('rescore._prove') IS NOT NULL,
       ARRAY(SELECT pg_catalog.jsonb_array_elements_text(p.plan -> 'unknown_past'))
FROM rescore.deployments AS d
JOIN rescore.profiles AS p ON p.profile = d.profile
WHERE d.model = %s AND rescore._defines(p.definition, d.model)
