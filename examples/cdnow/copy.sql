-- History comes in bulk. Calls the triggers, if any; writes public.orders.
COPY public.orders (customer_id, ordered_at, quantity, amount) FROM STDIN
