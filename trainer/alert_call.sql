-- Scores one customer. Calls rescore.predict_key; see there for the tables.
SELECT rescore.predict_key(%s::text, %s::text)
