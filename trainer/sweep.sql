-- Rescores rows with old scores, in batches with a commit each. Calls rescore.sweep.
CALL rescore.sweep(%s::text, %s::interval, %s::int4)
