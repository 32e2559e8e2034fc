-- Resolves the next snapshots whose horizon is over. Calls rescore._resolve_step.
SELECT rescore._resolve_step(%s::pg_catalog.text, %s::pg_catalog.int4)
