-- Enables the triggers of a profile; returns how many. Calls rescore.resume; see there for the tables.
SELECT rescore.resume(%(profile)s::text)
