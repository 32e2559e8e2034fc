-- Ends a round. Calls rescore._learn_record; see there for the tables.
SELECT rescore._learn_record(%s::text, %s::pg_catalog.jsonb)
