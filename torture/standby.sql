-- What a standby is asked, and told. Calls: rescore.predict, predict_key, predict_payload, explain,
-- request_learning.
-- Tables: reads customer_profile and the views of schema rescore.

-- name: position
SELECT pg_current_wal_lsn()::text

-- name: replayed
SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn

-- name: serving
SELECT rescore_compiled.churn_version()

-- name: predict
SELECT count(*) > 0 AND bool_and(rescore.predict('churn', p) BETWEEN 0 AND 1) FROM customer_profile AS p

-- name: predict_key
SELECT bool_and(rescore.predict_key('churn', customer_id) BETWEEN 0 AND 1) FROM customer_profile

-- name: predict_payload
SELECT rescore.predict_payload('churn', '{"orders": 3}') BETWEEN 0 AND 1

-- name: explain
SELECT count(*) > 5 FROM rescore.explain('churn', '1')

-- name: views
SELECT (SELECT count(*) FROM rescore.health) > 5 AND (SELECT count(*) FROM rescore.model_version) > 1
       AND (SELECT count(*) FROM rescore.model_quality) >= 0 AND (SELECT count(*) FROM rescore.incidents) = 0
       AND (SELECT count(*) FROM rescore.verify('customer_profile')) = 0

-- name: synchronous_names
ALTER SYSTEM SET synchronous_standby_names = '*'

-- name: asynchronous
ALTER SYSTEM RESET synchronous_standby_names

-- name: reload
SELECT pg_reload_conf()

-- name: request_learning
SELECT rescore.request_learning('churn', 'promoted')

-- name: learnt
-- How many examples all rounds have learnt, and how many lie after them.
SELECT (SELECT coalesce(sum(g.examples), 0)::int FROM rescore.learn_log AS g WHERE g.model = 'churn' AND g.version IS NOT NULL),
       (SELECT count(*) FROM rescore.snapshots AS s JOIN rescore.learning AS l ON l.model = s.model
        WHERE s.model = 'churn' AND s.label IS NOT NULL AND (s.resolved, s.id) > (l.watermark_xid, l.watermark_id))
