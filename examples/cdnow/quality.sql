-- Each kept score beside what happened: 1 when the customer bought nothing in the 90 days after.
-- Calls nothing; reads public.scores_kept and public.orders.
SELECT k.churn_score,
       (NOT EXISTS (
           SELECT FROM public.orders AS o
           WHERE o.customer_id = k.customer_id
             AND o.ordered_at > k.at AND o.ordered_at <= k.at + interval '90 days'
       ))::int4 AS churned
FROM public.scores_kept AS k
