-- Open incidents. Calls nothing; reads rescore.incident_log.
SELECT pg_catalog.count(*) FROM rescore.incident_log WHERE resolved_at IS NULL
