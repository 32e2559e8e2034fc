-- Disables the triggers of a profile; returns how many. Calls rescore.pause; see there for the tables.
SELECT rescore.pause(%(profile)s::text, %(reason)s::text)
