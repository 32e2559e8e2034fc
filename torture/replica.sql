-- A publication and what is done under it. Calls: nothing. Tables: write orders, complaints.

-- name: rows_before
INSERT INTO orders (customer_id, amount, channel, ordered_at)
SELECT i, i, 'web', now() - i * interval '9 hours' FROM generate_series(1, 100) AS i

-- name: publish
CREATE PUBLICATION shop FOR TABLE orders, complaints

-- name: slot
SELECT pg_create_logical_replication_slot(%s, 'pgoutput')

-- name: copied
SELECT count(*) = 2 AND bool_and(srsubstate = 'r') FROM pg_subscription_rel

-- name: confirmed
-- Whether a slot's subscriber has confirmed a position, and where it is.
SELECT confirmed_flush_lsn >= %s::pg_lsn, confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s

-- name: remove_profile
DELETE FROM customer_profile WHERE customer_id IN (1, 2)

-- name: another
INSERT INTO orders (customer_id, amount, channel) VALUES (1, 5, 'web'), (2, 6, 'store')

-- name: truncate
TRUNCATE orders
