-- Removes a person from a profile. Calls rescore.forget; see there for the tables.
SELECT place, removed, remaining FROM rescore.forget(%s::text, %s::text)
