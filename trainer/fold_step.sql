-- The next rows of a profile's queue, in a transaction of their own. Calls rescore._fold_step.
SELECT s.rows, s.customers, s.missed, s.more FROM rescore._fold_step(%(profile)s::text, %(batch)s::int4) AS s
