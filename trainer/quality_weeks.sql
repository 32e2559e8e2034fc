-- What came of the scores of each week, newest first. Calls nothing; reads the view rescore.live_quality.
SELECT l.model, l.version, l.week, l.holdout, l.snapshots, l.examples, l.customers, l.positives, l.base_rate, l.mean_score,
       l.log_loss, l.brier, l.mse, l.mae, l.censored, l.quarantined, l.treated, l.corrected
FROM rescore.live_quality AS l
WHERE %(model)s::pg_catalog.text IS NULL OR l.model = %(model)s::pg_catalog.text
ORDER BY l.model, l.week DESC, l.version DESC, l.holdout
