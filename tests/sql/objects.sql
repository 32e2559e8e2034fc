-- name: functions
-- What users, not PostgreSQL, may read: attributes of every function of rescore.
SELECT p.oid::regprocedure::text AS signature, p.prokind::text AS kind, l.lanname AS language,
       p.provolatile::text AS volatility, p.proparallel::text AS parallel, p.prosecdef AS definer,
       EXISTS (SELECT FROM unnest(p.proconfig) AS c WHERE c LIKE 'search\_path=pg\_catalog, pg\_temp%') AS pinned,
       obj_description(p.oid, 'pg_proc') AS comment,
       has_function_privilege('public', p.oid, 'EXECUTE') AS for_all,
       p.prosrc || coalesce(pg_get_function_sqlbody(p.oid), '') AS body
FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
WHERE p.pronamespace IN ('rescore'::regnamespace, 'rescore_compiled'::regnamespace)
ORDER BY 1

-- name: without_comment
-- Objects of rescore that say nothing of themselves.
SELECT 'schema ' || n.nspname FROM pg_namespace AS n
WHERE n.nspname IN ('rescore', 'rescore_compiled') AND obj_description(n.oid, 'pg_namespace') IS NULL
UNION ALL
SELECT 'function ' || p.oid::regprocedure FROM pg_proc AS p
WHERE p.pronamespace IN ('rescore'::regnamespace, 'rescore_compiled'::regnamespace)
  AND obj_description(p.oid, 'pg_proc') IS NULL
UNION ALL
SELECT 'relation ' || c.oid::regclass FROM pg_class AS c
WHERE c.relnamespace IN ('rescore'::regnamespace, 'rescore_compiled'::regnamespace) AND c.relkind IN ('r', 'v', 'S')
  AND c.relname <> 'deployment_history_id_seq' AND obj_description(c.oid, 'pg_class') IS NULL
UNION ALL
SELECT 'column ' || c.oid::regclass || '.' || a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relnamespace = 'rescore'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
  AND col_description(c.oid, a.attnum) IS NULL
UNION ALL
SELECT 'trigger ' || t.tgname FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'rescore'::regnamespace AND NOT t.tgisinternal AND obj_description(t.oid, 'pg_trigger') IS NULL

-- name: catalogue
-- Every object of rescore with all that defines it, to be compared before and after.
SELECT 'function', p.oid::text, CASE p.prokind WHEN 'a' THEN to_jsonb(a)::text ELSE pg_get_functiondef(p.oid) END, p.proacl::text, obj_description(p.oid, 'pg_proc')
FROM pg_proc AS p LEFT JOIN pg_aggregate AS a ON a.aggfnoid = p.oid
WHERE p.pronamespace IN ('rescore'::regnamespace, 'rescore_compiled'::regnamespace)
UNION ALL
SELECT 'relation', c.oid::text, c.relname || c.relkind::text || coalesce(pg_get_viewdef(c.oid), ''), c.relacl::text,
       obj_description(c.oid, 'pg_class')
FROM pg_class AS c WHERE c.relnamespace = 'rescore'::regnamespace
UNION ALL
SELECT 'column', a.attrelid::text || '.' || a.attnum, a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || a.attstorage::text || a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum)
FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND a.attrelid IN (SELECT c.oid FROM pg_class AS c WHERE c.relnamespace = 'rescore'::regnamespace)
UNION ALL
SELECT 'constraint', o.conrelid::text || '.' || o.conname, pg_get_constraintdef(o.oid), NULL, NULL FROM pg_constraint AS o
WHERE o.connamespace = 'rescore'::regnamespace
UNION ALL
SELECT 'trigger', t.tgrelid::text, pg_get_triggerdef(t.oid), NULL, obj_description(t.oid, 'pg_trigger')
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'rescore'::regnamespace AND NOT t.tgisinternal
UNION ALL
SELECT 'path', p.xmin::text, p.path, NULL, NULL FROM rescore.python_path AS p
ORDER BY 1, 2, 3
