-- What a dump must bring back, compared before and after. Calls: rescore.forget.
-- Tables: reads rescore's own, customer_profile and the catalogue; writes orders.

-- name: definitions
SELECT to_jsonb(p)::text FROM rescore.profiles AS p UNION ALL SELECT to_jsonb(d)::text FROM rescore.deployments AS d ORDER BY 1

-- name: models
SELECT md5(m::text) FROM rescore.models AS m UNION ALL SELECT h::text FROM rescore.deployment_history AS h
UNION ALL SELECT t::text FROM rescore.tombstones AS t UNION ALL SELECT md5(s::text) FROM rescore.tombstone_secret AS s ORDER BY 1

-- name: scores
SELECT p::text FROM customer_profile AS p ORDER BY customer_id

-- name: functions
SELECT p.oid::regprocedure::text, md5(CASE p.prokind WHEN 'a' THEN to_jsonb(a)::text ELSE pg_get_functiondef(p.oid) END || coalesce(obj_description(p.oid), '')),
       p.proowner::regrole::text
FROM pg_proc AS p LEFT JOIN pg_aggregate AS a ON a.aggfnoid = p.oid WHERE p.pronamespace::regnamespace::text LIKE 'rescore%' ORDER BY 1

-- name: triggers
SELECT t.tgrelid::regclass::text, t.tgname::text, t.tgenabled::text, pg_get_triggerdef(t.oid) FROM pg_trigger AS t WHERE NOT t.tgisinternal ORDER BY 1, 2

-- name: grants
SELECT o.shown, o.owner::regrole::text, (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(o.acl) AS a) FROM rescore._objects() AS o ORDER BY 1

-- name: sequences
SELECT s.schemaname || '.' || s.sequencename, s.last_value FROM pg_sequences AS s ORDER BY 1

-- name: forget
SELECT rescore.forget(%s, %s)

-- name: late_event
INSERT INTO orders (customer_id, amount) VALUES (%s::bigint, 1)

-- name: check
SELECT rescore_compiled.churn_version(), (SELECT count(*)::int FROM customer_profile WHERE customer_id = %s::bigint)
