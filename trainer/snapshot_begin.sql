-- Whether a round of snapshots is under way or due. Calls rescore._snapshot_begin.
SELECT rescore._snapshot_begin(%s::pg_catalog.text)
