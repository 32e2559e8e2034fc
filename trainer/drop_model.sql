-- Deletes what a model that is no longer defined has left. Calls rescore.drop_model; see there for the tables.
SELECT place, amount, bytes FROM rescore.drop_model(%s::text, %s::text)
