-- What the clients of the torture do. Tables: write orders, complaints.

-- name: orders
INSERT INTO orders (customer_id, amount, channel, batch)
SELECT k, %(amount)s, %(channel)s, %(batch)s FROM unnest(%(keys)s::bigint[]) AS k

-- name: complaint
INSERT INTO complaints (customer_id, severity, batch) VALUES (%(key)s, %(severity)s, %(batch)s)

-- name: change
UPDATE orders SET amount = amount + 1, customer_id = %(key)s WHERE batch = %(batch)s

-- name: remove
DELETE FROM orders WHERE batch = %(batch)s
