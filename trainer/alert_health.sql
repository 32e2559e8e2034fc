-- Checks that are not well. Calls nothing; reads the view rescore.health.
SELECT h."check", h.status, h.detail FROM rescore.health AS h WHERE h.status = ANY(%s::pg_catalog.text[]) ORDER BY 1
