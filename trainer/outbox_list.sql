-- How far each consumer is behind. Calls: nothing. Tables: reads rescore.outbox_lag.
SELECT l.consumer, l.pending, l.oldest, l.read_at, l.acknowledged_at, l.registered_at, l.share, l.shares, l.here
FROM rescore.outbox_lag AS l ORDER BY l.consumer
