-- The next rows for a consumer, in order. Calls rescore.outbox_read.
SELECT o.id, o.profile, o.score, o.key, o.old, o.new, o.old_band, o.new_band, o.model, o.version, o.at, o.created_at
FROM rescore.outbox_read(%s::text, %s::int4) WITH ORDINALITY AS o ORDER BY o.ordinality
