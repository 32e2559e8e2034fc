-- Lifts the tombstone of a key. Calls rescore.remember; see there for the tables.
SELECT rescore.remember(%s::text, %s::text)
