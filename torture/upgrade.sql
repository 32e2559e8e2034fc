-- A database as an earlier revision has it. Calls: nothing. Tables: reads rescore's own, the catalogue.

-- name: schemas
CREATE SCHEMA rescore; CREATE SCHEMA rescore_compiled

-- name: revision
SELECT version_num FROM rescore.alembic_version

-- name: profile_table
-- The profile table with its columns, and the sequences of version numbers.
SELECT format('CREATE TABLE customer_profile (%s)', string_agg(format('%I %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
              CASE WHEN a.attnotnull THEN ' NOT NULL' END, coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')), ', ' ORDER BY a.attnum) || ', PRIMARY KEY (customer_id)')
FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = 'customer_profile'::regclass AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT format('CREATE SEQUENCE %I.%I AS integer START %s', s.schemaname, s.sequencename, s.last_value + 1)
FROM pg_sequences AS s WHERE s.schemaname = 'rescore_compiled'

-- name: versions
SELECT pg_get_functiondef(p.oid) FROM pg_proc AS p
WHERE p.pronamespace = 'rescore_compiled'::regnamespace AND p.proname ~ '^(churn|worth)_v[0-9]'

-- name: columns
SELECT c.table_schema, c.table_name, array_agg(c.column_name::text ORDER BY c.ordinal_position)
FROM information_schema.columns AS c JOIN information_schema.tables AS t USING (table_schema, table_name)
WHERE c.table_schema IN ('rescore', 'public') AND t.table_type = 'BASE TABLE'
  AND NOT (SELECT r.relispartition FROM pg_class AS r WHERE r.oid = format('%I.%I', c.table_schema, c.table_name)::regclass)
  AND table_name NOT IN ('alembic_version', 'sweeps', 'outbox_consumers', 'python_path')
GROUP BY 1, 2 ORDER BY table_name = 'deployments', table_name

-- name: sequences
-- Statements that set the sequence of each identity column behind its rows.
SELECT format('SELECT setval(pg_get_serial_sequence(%L, %L), coalesce(max(%I), 0) + 1, false) FROM %I.%I',
              format('%I.%I', c.table_schema, c.table_name), c.column_name, c.column_name, c.table_schema, c.table_name)
FROM information_schema.columns AS c WHERE c.table_schema IN ('rescore', 'public') AND c.is_identity = 'YES'

-- name: rows
SELECT md5(p::text) FROM (SELECT profile, slug, definition, source, digest, plan FROM rescore.profiles) AS p
UNION ALL SELECT md5(m::text) FROM (SELECT model, version, artifact, linear, contract, created_at FROM rescore.models) AS m
UNION ALL SELECT h::text FROM (SELECT id, model, action, version, previous, at, by, reason FROM rescore.deployment_history) AS h
UNION ALL SELECT md5(c::text) FROM customer_profile AS c ORDER BY 1
