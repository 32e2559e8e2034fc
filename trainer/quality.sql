-- What came of each version's scores: as it was judged, with intervals; of one that was not judged, what its weeks say together (log loss
-- and Brier score where each of them says it, the others of those that do). What waits for its outcome is counted besides. Calls nothing; reads the views rescore.served_quality, rescore.live_quality,
-- rescore.early_outcomes.
WITH weeks AS (
    SELECT l.model, l.version, pg_catalog.min(l.week) AS first_week, pg_catalog.max(l.week) AS last_week,
           pg_catalog.sum(l.examples)::pg_catalog.int8 AS examples,
           pg_catalog.sum(l.base_rate * l.examples) / nullif(pg_catalog.sum(l.examples), 0) AS base_rate,
           pg_catalog.sum(l.mean_score * l.examples) / nullif(pg_catalog.sum(l.examples) FILTER (WHERE l.mean_score IS NOT NULL), 0) AS mean_score,
           CASE WHEN pg_catalog.bool_and(l.log_loss IS NOT NULL) FILTER (WHERE l.examples > 0)
                THEN pg_catalog.sum(l.log_loss * l.examples) / pg_catalog.sum(l.examples) END AS log_loss,
           CASE WHEN pg_catalog.bool_and(l.brier IS NOT NULL) FILTER (WHERE l.examples > 0)
                THEN pg_catalog.sum(l.brier * l.examples) / pg_catalog.sum(l.examples) END AS brier,
           pg_catalog.sum(l.mse * l.examples) / nullif(pg_catalog.sum(l.examples) FILTER (WHERE l.mse IS NOT NULL), 0) AS mse,
           pg_catalog.sum(l.mae * l.examples) / nullif(pg_catalog.sum(l.examples) FILTER (WHERE l.mae IS NOT NULL), 0) AS mae
    FROM rescore.live_quality AS l
    WHERE %(model)s::pg_catalog.text IS NULL OR l.model = %(model)s::pg_catalog.text
    GROUP BY l.model, l.version
), judged AS (
    SELECT q.* FROM rescore.served_quality AS q
    WHERE %(model)s::pg_catalog.text IS NULL OR q.model = %(model)s::pg_catalog.text
), waiting AS (
    SELECT e.model, e.version, pg_catalog.sum(e.open)::pg_catalog.int8 AS open, pg_catalog.min(e.due_from) AS due_from
    FROM rescore.early_outcomes AS e
    WHERE %(model)s::pg_catalog.text IS NULL OR e.model = %(model)s::pg_catalog.text
    GROUP BY e.model, e.version
)
SELECT model, version, q.began, q.ended, w.first_week, w.last_week, coalesce(o.open, 0) AS open, o.due_from,
       coalesce(q.examples, w.examples, 0) AS examples, q.customers, q.auc, q.auc_low, q.auc_high,
       CASE WHEN q.at IS NULL THEN w.log_loss ELSE q.log_loss END AS log_loss, q.log_loss_low, q.log_loss_high,
       CASE WHEN q.at IS NULL THEN w.brier END AS brier, CASE WHEN q.at IS NULL THEN w.mse END AS mse, CASE WHEN q.at IS NULL THEN w.mae END AS mae,
       CASE WHEN q.at IS NULL THEN w.mean_score END AS mean_score, CASE WHEN q.at IS NULL THEN w.base_rate ELSE q.base_rate END AS base_rate,
       q.against, q.metric, q.gain, q.gain_low, q.gain_high, q.verdict, q.at AS judged_at
FROM judged AS q FULL JOIN weeks AS w USING (model, version) FULL JOIN waiting AS o USING (model, version)
ORDER BY model, version DESC
