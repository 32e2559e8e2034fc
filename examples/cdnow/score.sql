-- One customer's row as any application reads it. Calls nothing; reads public.customer_profile.
SELECT p.orders, p.churn_score FROM public.customer_profile AS p WHERE p.customer_id = %s
