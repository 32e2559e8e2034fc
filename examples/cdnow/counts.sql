-- What the demo leaves behind. Calls rescore.verify; reads public.orders, rescore.models.
SELECT (SELECT pg_catalog.count(*) FROM public.orders) AS events,
       (SELECT pg_catalog.count(*) FROM public.customer_profile) AS customers,
       (SELECT pg_catalog.count(*) FROM rescore.models) AS versions,
       (SELECT pg_catalog.count(*) FROM rescore.verify('customer_profile')) AS verify_differences
