-- What became of what was scored: quality by week, outcomes known early, uplift of treatments.
-- Calls: 019_computed. Tables: reads rescore.snapshots, rescore.deployments, rescore.profiles.
--
-- Only resolved snapshots count: an outcome that comes early would make recent weeks look worse than
-- they are. AUC is not additive; the trainer computes it. Means of what has no bounds are sums by counts: avg() adds
-- up squares beside. One absurd number must not leave everybody without: scores, labels and
-- errors nearer to 0 than 1e-100 are 0 (PostgreSQL raises where a square underflows), and of those without bounds what is squared is at most 1e140.

CREATE OR REPLACE VIEW rescore.live_quality AS
SELECT s.model, s.version, pg_catalog.date_trunc('week', s.taken_at, 'UTC') AS week, s.holdout,
       count(*) AS snapshots,
       count(*) FILTER (WHERE s.censored) AS censored,
       count(*) FILTER (WHERE s.quarantined IS NOT NULL) AS quarantined,
       count(*) FILTER (WHERE s.treated_at IS NOT NULL) AS treated,
       count(*) FILTER (WHERE s.corrected_at IS NOT NULL) AS corrected,
       count(*) FILTER (WHERE e.counts) AS examples,
       count(DISTINCT s.key) FILTER (WHERE e.counts) AS customers,
       sum(e.label) FILTER (WHERE e.counts) AS positives,
       avg(e.label) FILTER (WHERE e.counts) AS base_rate,
       sum(e.score) FILTER (WHERE e.counts) / nullif(count(e.score) FILTER (WHERE e.counts), 0) AS mean_score,
       CASE WHEN bool_and(s.score BETWEEN 0 AND 1) FILTER (WHERE e.counts)
            THEN avg(-ln(greatest(CASE WHEN s.label > 0.5 THEN s.score ELSE 1 - s.score END, 1e-15))) FILTER (WHERE e.counts AND NOT n.is_number AND s.score BETWEEN 0 AND 1) END AS log_loss,
       CASE WHEN bool_and(s.score BETWEEN 0 AND 1) FILTER (WHERE e.counts)
            THEN avg(e.error ^ 2) FILTER (WHERE e.counts AND NOT n.is_number AND s.score BETWEEN 0 AND 1) END AS brier,
       sum(float8smaller(abs(e.error), 1e140) ^ 2) FILTER (WHERE e.counts AND n.is_number) / nullif(count(e.error) FILTER (WHERE e.counts AND n.is_number), 0) AS mse,
       sum(abs(e.error)) FILTER (WHERE e.counts AND n.is_number) / nullif(count(e.error) FILTER (WHERE e.counts AND n.is_number), 0) AS mae
FROM rescore.snapshots AS s
JOIN (
    SELECT d.model, coalesce((p.plan #> ARRAY['labels', d.spec ->> 'label', 'number'])::boolean, false) AS is_number
    FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
) AS n ON n.model = s.model
CROSS JOIN LATERAL (
    SELECT NOT s.censored AND s.quarantined IS NULL AND s.treated_at IS NULL AND s.label IS NOT NULL AS counts,
           f.score, f.label, rescore._result(f.score - f.label) AS error
    FROM (SELECT rescore._result(float8larger(float8smaller(s.score, 1e290), -1e290)) AS score, rescore._result(s.label) AS label) AS f
) AS e
WHERE s.resolved IS NOT NULL
GROUP BY s.model, s.version, pg_catalog.date_trunc('week', s.taken_at, 'UTC'), s.holdout;
COMMENT ON VIEW rescore.live_quality IS 'How the served scores turned out: resolved snapshots by model, version and week (Monday, UTC); numbers are of examples, which are neither censored, quarantined nor treated.';
COMMENT ON COLUMN rescore.live_quality.model IS 'Model that scored';
COMMENT ON COLUMN rescore.live_quality.version IS 'Version that served';
COMMENT ON COLUMN rescore.live_quality.week IS 'Week the scores were given in';
COMMENT ON COLUMN rescore.live_quality.holdout IS 'Whether of customers kept untreated; null when the profile has no interventions';
COMMENT ON COLUMN rescore.live_quality.snapshots IS 'Resolved snapshots';
COMMENT ON COLUMN rescore.live_quality.censored IS 'Of these, outcome that cannot be known';
COMMENT ON COLUMN rescore.live_quality.quarantined IS 'Of these, kept out of learning';
COMMENT ON COLUMN rescore.live_quality.treated IS 'Of these, customer treated within the horizon';
COMMENT ON COLUMN rescore.live_quality.corrected IS 'Of these, label corrected after it was resolved';
COMMENT ON COLUMN rescore.live_quality.examples IS 'Snapshots that the numbers are of';
COMMENT ON COLUMN rescore.live_quality.customers IS 'Different customers among these';
COMMENT ON COLUMN rescore.live_quality.positives IS 'Sum of their labels';
COMMENT ON COLUMN rescore.live_quality.base_rate IS 'Mean of their labels';
COMMENT ON COLUMN rescore.live_quality.mean_score IS 'Mean of their scores';
COMMENT ON COLUMN rescore.live_quality.log_loss IS 'Log loss of their scores; null where scores are no probabilities';
COMMENT ON COLUMN rescore.live_quality.brier IS 'Brier score; null where scores are no probabilities';
COMMENT ON COLUMN rescore.live_quality.mse IS 'Mean squared error; null where the label is no number';
COMMENT ON COLUMN rescore.live_quality.mae IS 'Mean absolute error; null where the label is no number';

CREATE OR REPLACE VIEW rescore.early_outcomes AS
SELECT s.model, s.version, pg_catalog.date_trunc('week', s.taken_at, 'UTC') AS week,
       count(*) AS open, count(*) FILTER (WHERE s.early) AS positive, min(s.due_at) AS due_from, max(s.due_at) AS due_until
FROM rescore.snapshots AS s WHERE s.resolved IS NULL
GROUP BY s.model, s.version, pg_catalog.date_trunc('week', s.taken_at, 'UTC');
COMMENT ON VIEW rescore.early_outcomes IS 'Snapshots whose horizon is not over, and how many are known to be positive already: neither learnt nor measured yet.';
COMMENT ON COLUMN rescore.early_outcomes.model IS 'Model that scored';
COMMENT ON COLUMN rescore.early_outcomes.version IS 'Version that served';
COMMENT ON COLUMN rescore.early_outcomes.week IS 'Week the scores were given in (Monday, UTC)';
COMMENT ON COLUMN rescore.early_outcomes.open IS 'Snapshots that wait for their outcome';
COMMENT ON COLUMN rescore.early_outcomes.positive IS 'Of these, known to be positive';
COMMENT ON COLUMN rescore.early_outcomes.due_from IS 'When the first of them resolves';
COMMENT ON COLUMN rescore.early_outcomes.due_until IS 'When the last of them resolves';

-- Snapshots of one customer are not independent: errors are of the customers' sums (linearization of a
-- ratio, by cluster), so that a rate's variance is that of outcomes less rate times number.
CREATE OR REPLACE VIEW rescore.uplift AS
SELECT e.model, e.week, e.customers, e.held_out, e.treated_share, e.rate, e.rate_held_out, e.difference,
       e.difference / nullif(e.treated_share, 0) AS per_treated,
       e.difference - 1.96 * e.standard_error AS difference_low, e.difference + 1.96 * e.standard_error AS difference_high,
       (e.difference - 1.96 * e.standard_error) / nullif(e.treated_share, 0) AS per_treated_low,
       (e.difference + 1.96 * e.standard_error) / nullif(e.treated_share, 0) AS per_treated_high
FROM (
    SELECT g.model, g.week, coalesce(max(g.customers) FILTER (WHERE NOT g.holdout), 0) AS customers,
           coalesce(max(g.customers) FILTER (WHERE g.holdout), 0) AS held_out,
           max(g.treated / g.n) FILTER (WHERE NOT g.holdout) AS treated_share,
           max(g.rate) FILTER (WHERE NOT g.holdout) AS rate, max(g.rate) FILTER (WHERE g.holdout) AS rate_held_out,
           max(g.rate) FILTER (WHERE NOT g.holdout) - max(g.rate) FILTER (WHERE g.holdout) AS difference,
           CASE WHEN min(g.customers) > 1 AND count(*) = 2
                THEN sqrt(sum(greatest(g.yy - 2 * g.rate * g.yn + g.rate ^ 2 * g.nn, 0) / g.n ^ 2 * g.customers / nullif(g.customers - 1, 0))) END AS standard_error
    FROM (
        SELECT c.model, c.week, c.holdout, count(*) AS customers, sum(c.n) AS n, sum(c.treated) AS treated, sum(c.y) / sum(c.n) AS rate,
               sum(c.y ^ 2) AS yy, sum(c.y * c.n) AS yn, sum(c.n ^ 2) AS nn
        FROM (
            SELECT s.model, pg_catalog.date_trunc('week', s.taken_at, 'UTC') AS week, s.holdout, s.key, count(*)::double precision AS n,
                   rescore._result(sum(s.label)) AS y, count(*) FILTER (WHERE s.treated_at IS NOT NULL)::double precision AS treated
            FROM rescore.snapshots AS s
            WHERE s.resolved IS NOT NULL AND s.label IS NOT NULL AND NOT s.censored AND s.quarantined IS NULL AND s.holdout IS NOT NULL
            GROUP BY s.model, pg_catalog.date_trunc('week', s.taken_at, 'UTC'), s.holdout, s.key
        ) AS c
        GROUP BY c.model, c.week, c.holdout
    ) AS g
    GROUP BY g.model, g.week
) AS e;
COMMENT ON VIEW rescore.uplift IS 'What treating changed: customers who may be treated, whether they were or not, beside those held out. Chance decided between the two, hence the difference is the treatments'' doing; those treated beside those not would show how they were chosen.';
COMMENT ON COLUMN rescore.uplift.model IS 'Model whose label is the outcome';
COMMENT ON COLUMN rescore.uplift.week IS 'Week of the moments (Monday, UTC)';
COMMENT ON COLUMN rescore.uplift.customers IS 'Different customers who may be treated';
COMMENT ON COLUMN rescore.uplift.held_out IS 'Different customers held out';
COMMENT ON COLUMN rescore.uplift.treated_share IS 'Share of the former that was treated within the horizon';
COMMENT ON COLUMN rescore.uplift.rate IS 'Their rate of positive outcomes; the mean of labels that are numbers';
COMMENT ON COLUMN rescore.uplift.rate_held_out IS 'That of the holdout';
COMMENT ON COLUMN rescore.uplift.difference IS 'The former less the latter: below 0, treating prevents the outcome';
COMMENT ON COLUMN rescore.uplift.per_treated IS 'The difference for each customer who was treated';
COMMENT ON COLUMN rescore.uplift.difference_low IS 'Lower bound of the difference, at 95% confidence, by customers; of many weeks together: `rescore uplift`';
COMMENT ON COLUMN rescore.uplift.difference_high IS 'Upper bound of the difference';
COMMENT ON COLUMN rescore.uplift.per_treated_low IS 'Lower bound of that for each who was treated, their share taken for known';
COMMENT ON COLUMN rescore.uplift.per_treated_high IS 'Upper bound of that';
