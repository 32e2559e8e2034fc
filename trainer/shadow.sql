-- Lets a version score beside the champion. Calls rescore.shadow; see there for the tables.
SELECT rescore.shadow(%s::text, %s::int4, %s::text)
