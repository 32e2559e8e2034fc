-- Deletes old rows of the outbox. Calls rescore.outbox_prune.
SELECT rescore.outbox_prune(%s::interval, %s::bool)
