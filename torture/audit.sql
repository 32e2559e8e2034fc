-- Questions asked of a shop that was put through something. Calls: rescore.verify, rescore.share,
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

-- name: waiting
-- What nobody has counted yet; nothing after a fold while nobody writes.
SELECT q.profile, q.key FROM rescore.queue AS q LIMIT 5

-- name: snapshots
-- Logged scores that are not what the version they name says of the row logged with them.
SELECT s.model, s.key, s.version, s.score, e.score
FROM rescore.snapshots AS s
JOIN rescore.models AS m ON m.model = s.model AND m.version = s.version
CROSS JOIN LATERAL (
    SELECT (m.linear ->> 'intercept')::float8 + sum(x.value * (m.linear -> 'weights' ->> (x.n::int - 1))::float8) AS z
    FROM unnest(s.design) WITH ORDINALITY AS x (value, n)) AS w
CROSS JOIN LATERAL (SELECT 1 / (1 + exp(-greatest(-700, least(700, w.z)))) AS score) AS e
WHERE m.linear ->> 'link' = 'logistic' AND (abs(s.score - e.score) <= 1e-9) IS NOT TRUE LIMIT 5

-- name: nameless
-- Snapshots by versions that nobody published.
SELECT s.model, s.key, s.version FROM rescore.snapshots AS s
WHERE NOT EXISTS (SELECT FROM rescore.models AS m WHERE m.model = s.model AND m.version = s.version) LIMIT 5

-- name: uneven
-- Where rounds are logged, each logs each customer once: those who have another number than most.
WITH c AS (
    SELECT m.model, p.customer_id::text AS key, count(s.id) AS times
    FROM (SELECT DISTINCT s.model FROM rescore.snapshots AS s JOIN rescore.deployments AS d ON d.model = s.model
          JOIN rescore.profiles AS f ON f.profile = d.profile AND f.definition -> 'snapshot' ? 'every') AS m
    CROSS JOIN customer_profile AS p
    LEFT JOIN rescore.snapshots AS s ON s.model = m.model AND s.key = p.customer_id::text
    GROUP BY 1, 2),
     o AS (SELECT c.model, mode() WITHIN GROUP (ORDER BY c.times) AS most FROM c GROUP BY c.model)
SELECT c.model, c.key, c.times, o.most FROM c JOIN o USING (model) WHERE c.times <> o.most LIMIT 5

-- name: learnt
-- Rounds of learning that made a version, and the examples that lie where they say they have learnt:
-- of customers who are not tested on, logged by versions with the same columns.
SELECT g.version, g.examples, e.examples
FROM rescore.learn_log AS g
JOIN rescore.models AS m ON m.model = g.model AND m.version = g.parent
JOIN rescore.deployments AS d ON d.model = g.model
CROSS JOIN LATERAL (
    SELECT count(*) AS examples FROM rescore.snapshots AS s
    JOIN rescore.models AS v ON v.model = s.model AND v.version = s.version AND v.contract -> 'inputs' = m.contract -> 'inputs'
    WHERE s.model = g.model AND (s.resolved, s.id) > (g.from_xid, g.from_id) AND (s.resolved, s.id) <= (g.to_xid, g.to_id)
      AND s.label IS NOT NULL AND s.quarantined IS NULL
      AND rescore.share('learn ' || s.model, s.key) >= 0.2) AS e
WHERE g.version IS NOT NULL AND g.examples IS DISTINCT FROM e.examples LIMIT 5

-- name: learnt_twice
-- Rounds that begin before an earlier one ended, and versions that learnt something without the round that
-- made them; one from a file has learnt nothing here.
SELECT r.id, r.version FROM (
    SELECT g.id, g.version, (g.from_xid, g.from_id) < (lag(g.to_xid) OVER w, lag(g.to_id) OVER w) AS again
    FROM rescore.learn_log AS g WHERE g.version IS NOT NULL WINDOW w AS (PARTITION BY g.model ORDER BY g.id)) AS r
WHERE r.again
UNION ALL
SELECT NULL, l.version FROM rescore.lineage AS l
WHERE l.examples > 0 AND NOT EXISTS (SELECT FROM rescore.learn_log AS g WHERE g.model = l.model AND g.version = l.version) LIMIT 5

-- name: passed_over
-- Rounds that begin after the one before had ended: what was resolved in between is learnt by none.
SELECT r.model, r.id FROM (
    SELECT g.model, g.id, (g.from_xid, g.from_id) > (lag(g.to_xid) OVER w, lag(g.to_id) OVER w) AS passed
    FROM rescore.learn_log AS g WINDOW w AS (PARTITION BY g.model ORDER BY g.id)) AS r
WHERE r.passed LIMIT 5
