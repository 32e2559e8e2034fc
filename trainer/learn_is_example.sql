-- Whether a snapshot s is an example: what is learnt, tested on and counted. Part of learn_batch.sql and others.
(s.label IS NOT NULL OR NOT {labelled}) AND NOT s.censored AND s.quarantined IS NULL AND (s.treated_at IS NULL OR {weigh})
AND s.version = ANY ({versions}) AND s.taken_at > {after}
