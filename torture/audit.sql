-- Questions asked of a shop that was put through something. Calls: rescore.verify,
-- rescore._version_call. Tables: reads customer_profile, orders, complaints, rescore's own.

-- name: differences
-- Stored values that differ from a recount.
SELECT key, feature, stored, expected FROM rescore.verify('customer_profile') LIMIT 5

-- name: incidents
-- Causes of failed scores.
SELECT sqlstate, message, context FROM rescore.incident_log

-- name: versions
-- Each score, each version that wrote some of it, and how that version is called on a row.
SELECT format('%I', s.score) AS score, m.version,
       rescore._version_call(m.model, m.version, m.contract -> 'inputs', ARRAY(
           SELECT replace(p.plan -> 'values' ->> (i ->> 'name'), 'rescore_v_clock', format('p.%I', s.score || '_at'))
           FROM jsonb_array_elements(m.contract -> 'inputs') WITH ORDINALITY AS c (i, n) ORDER BY n),
           format('p.%I', s.score || '_at')) AS call
FROM rescore.deployments AS d
CROSS JOIN LATERAL unnest(d.score_columns) AS s (score)
JOIN rescore.models AS m ON m.model = d.model
JOIN rescore.profiles AS p ON p.profile = d.profile
WHERE m.engine = 'compiled'

-- name: unreported
-- Customers whose last report is not the score that counts as reported.
SELECT p.customer_id, p.churn_score_reported, o.new
FROM customer_profile AS p
LEFT JOIN LATERAL (SELECT x.new FROM rescore.outbox AS x WHERE x.key = p.customer_id::text AND x.score = 'churn_score'
                   ORDER BY x.id DESC LIMIT 1) AS o ON true
WHERE o.new IS DISTINCT FROM p.churn_score_reported LIMIT 5

-- name: batches
-- How many rows of each client's statements are there.
SELECT e.batch, count(*) FROM (SELECT batch FROM orders UNION ALL SELECT batch FROM complaints) AS e
WHERE e.batch IS NOT NULL GROUP BY e.batch

-- name: stale
-- Scores that were never made, or were marked as out of date.
SELECT count(*) FROM customer_profile WHERE churn_score_at IS NULL OR worth_score_at IS NULL
