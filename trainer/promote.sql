-- Lets a recorded version serve. Calls rescore.promote; see there for the tables.
SELECT rescore.promote(%s::text, %s::int4, %s::text)
