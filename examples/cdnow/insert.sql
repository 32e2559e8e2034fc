-- What a shop does for each purchase, and all it does. Calls the triggers; writes public.orders.
INSERT INTO public.orders (customer_id, ordered_at, quantity, amount) VALUES (%s, %s, %s, %s)
