-- Keeps what has moved. Calls rescore._drift_record; see there for the tables.
SELECT rescore._drift_record(%s::text, %s::pg_catalog.int4, %s::pg_catalog.jsonb)
