-- All transactions before this one have ended, for everybody. Calls rescore._ended; see there for the tables.
SELECT rescore._ended()::text::pg_catalog.int8
