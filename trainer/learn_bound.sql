-- All transactions before this one have ended, for everybody. Calls nothing; reads no table.
SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::pg_catalog.int8
