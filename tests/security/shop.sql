-- A shop in a schema of its own, all of it its owner's.
-- Calls nothing. Makes schema shop and its tables.
CREATE SCHEMA shop AUTHORIZATION app_owner;
SET ROLE app_owner;
CREATE TABLE shop.customers (customer_id bigint PRIMARY KEY, plan text NOT NULL DEFAULT 'basic', region text NOT NULL DEFAULT 'north');
CREATE TABLE shop.orders (customer_id bigint, ordered_at timestamptz NOT NULL DEFAULT now(), amount numeric(10,2), kind text);
CREATE INDEX ON shop.orders (customer_id);
CREATE TABLE shop.sessions (session_id bigint PRIMARY KEY, customer_id bigint);
CREATE INDEX ON shop.sessions (customer_id);
CREATE TABLE shop.clicks (session_id bigint, at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON shop.clicks (session_id);
INSERT INTO shop.customers (customer_id) SELECT c FROM generate_series(101, 160) AS c;
INSERT INTO shop.orders
SELECT c, timestamptz '2024-01-01 00:00+00' + interval '1 day' * (n * (5 + c % 40)), 10 + n, 'web'
FROM generate_series(101, 160) AS c CROSS JOIN generate_series(1, 12) AS n;
GRANT USAGE ON SCHEMA shop TO app, viewer, learner;
GRANT INSERT ON shop.orders, shop.clicks, shop.sessions TO app;
RESET ROLE;
