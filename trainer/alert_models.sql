-- Models that are defined and serve, with their profile tables. Calls rescore._defines; reads rescore.deployments, rescore.profiles.
SELECT d.model, p.table_schema, p.table_name, p.key_column
FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
WHERE d.champion IS NOT NULL AND rescore._defines(p.definition, d.model) ORDER BY 1
