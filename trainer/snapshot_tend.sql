-- Makes partitions ahead of need and drops what is too old. Calls rescore._snapshot_tend.
SELECT rescore._snapshot_tend(%s::pg_catalog.text)
