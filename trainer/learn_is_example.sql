-- Whether a snapshot s is an example: what is learnt, tested on and counted. Part of learn_batch.sql and others. Versions are
-- looked up by a hash if they are of the column's own type; psycopg sends small numbers as int2, which would be gone through.
(s.label IS NOT NULL OR NOT {labelled}) AND NOT s.censored AND s.quarantined IS NULL AND (s.treated_at IS NULL OR {weigh})
AND s.version = ANY ({versions}::pg_catalog.int4[]) AND s.taken_at > {after}
