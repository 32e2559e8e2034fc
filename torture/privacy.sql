-- Forgetting under load. Calls: rescore.forget, rescore.rebuild. Tables: reads all that hold a key.

-- name: forget
SELECT rescore.forget(%s, %s)

-- name: rebuild
SELECT rescore.rebuild(%s)

-- name: traces
SELECT 'customer_profile', customer_id::text FROM customer_profile WHERE customer_id::text = ANY(%(people)s)
UNION ALL SELECT 'rescore.outbox', key FROM rescore.outbox WHERE key = ANY(%(people)s)
UNION ALL SELECT 'rescore.removed_keys', key FROM rescore.removed_keys WHERE key = ANY(%(people)s)
