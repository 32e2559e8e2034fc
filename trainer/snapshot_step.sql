-- One batch of a round of snapshots. Calls rescore._snapshot_step.
SELECT s.finished, s.taken FROM rescore._snapshot_step(%s::pg_catalog.text, %s::pg_catalog.int4) AS s
