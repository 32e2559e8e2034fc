-- Registers a consumer. Calls rescore.outbox_register.
SELECT rescore.outbox_register(%s::text, %s::text)
