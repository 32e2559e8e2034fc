-- Puts pg_catalog first where the session's search_path names it after other schemas: what stands in
-- those cannot then take the place of PostgreSQL's own. Calls nothing; reads no table.
SELECT pg_catalog.set_config('search_path', COALESCE(pg_catalog.string_agg(pg_catalog.quote_ident(s.name), ', ' ORDER BY s.place), ''), false)
FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS s (name, place)
WHERE s.name OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.name
HAVING EXISTS (SELECT FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) AS t (name)
               WHERE t.name OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.name)
