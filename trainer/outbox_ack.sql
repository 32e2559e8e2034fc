-- Acknowledges what a consumer has read up to an id. Calls rescore.outbox_ack.
SELECT rescore.outbox_ack(%s::text, %s::int8)
