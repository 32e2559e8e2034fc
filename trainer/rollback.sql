-- Lets an earlier version serve. Calls rescore.rollback; see there for the tables.
SELECT rescore.rollback(%s::text, %s::int4, %s::text)
