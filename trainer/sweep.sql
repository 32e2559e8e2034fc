-- Rescores rows with old scores, in batches with a commit each. Calls rescore.sweep.
CALL rescore.sweep(%s::text, %s::interval, COALESCE(%s::int4, 10000))
