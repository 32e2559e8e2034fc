-- Lets snapshots out of quarantine. Calls rescore.release; see there for the tables.
SELECT rescore.release(%s::text, %s::pg_catalog.int8[])
