-- Ends a challenge or a shadow. Calls rescore.demote; see there for the tables.
SELECT rescore.demote(%s::text, %s::int4, %s::text)
