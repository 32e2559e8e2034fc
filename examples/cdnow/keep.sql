-- The scores as they stand in the profile table at the day of judgement, kept for later.
-- Calls nothing; reads public.customer_profile, creates public.scores_kept.
CREATE TABLE public.scores_kept AS
SELECT p.customer_id, p.churn_score, rescore.clock() AS at FROM public.customer_profile AS p;
COMMENT ON TABLE public.scores_kept IS 'Scores of public.customer_profile as they stood on one day';
