-- The shop's own table: rescore adds triggers to it, nothing else.
-- Calls nothing; creates public.orders.
CREATE TABLE public.orders (
    order_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL,
    ordered_at  timestamptz NOT NULL,
    quantity    integer NOT NULL,
    amount      numeric(10, 2) NOT NULL
);
CREATE INDEX orders_customer_idx ON public.orders (customer_id, ordered_at);
CREATE INDEX orders_time_idx ON public.orders (ordered_at);
COMMENT ON TABLE public.orders IS 'CDNOW: one row per purchase, 1997-01-01 to 1998-06-30';
