-- What a model that is no longer defined has left. Calls rescore.left_behind; see there for the tables.
SELECT place, amount, bytes FROM rescore.left_behind(%s::text)
