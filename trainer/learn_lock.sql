-- Keeps others from the model until the transaction ends, if it is where the round began.
-- Calls rescore._learn_lock; see there for the tables.
SELECT rescore._learn_lock(%(model)s::text, %(xid)s::text::pg_catalog.xid8, %(id)s::pg_catalog.int8, %(champion)s::pg_catalog.int4, %(written)s::text::pg_catalog.xid)
