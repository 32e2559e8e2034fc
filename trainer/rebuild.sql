-- Recomputes a profile from its events. Calls rescore.rebuild; see there for the tables.
SELECT rescore.rebuild(%s::text)
