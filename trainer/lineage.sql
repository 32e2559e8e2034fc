-- Keeps what a version learnt from. Calls rescore._record_lineage; see there for the tables.
SELECT rescore._record_lineage(%s::text, %s::pg_catalog.int4, %s::pg_catalog.jsonb)
