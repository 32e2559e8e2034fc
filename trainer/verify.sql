-- Stored values that differ from a recount. Calls rescore.verify; see there for the tables.
SELECT v.key, v.feature, v.stored, v.expected FROM rescore.verify(%s::text) AS v
