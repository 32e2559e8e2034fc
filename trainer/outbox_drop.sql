-- Forgets a consumer. Calls rescore.outbox_drop.
SELECT rescore.outbox_drop(%s::text)
