-- Looks again at the next snapshots of a model. Calls rescore._check_step.
SELECT s.up_to_at, s.up_to_key, s.looked, s.changed
FROM rescore._check_step(%s::pg_catalog.text, %s::pg_catalog.text, %s::pg_catalog.timestamptz, %s::pg_catalog.text, %s::pg_catalog.int4) AS s
