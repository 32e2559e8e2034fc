-- Queries of the compiler: what it reads of the catalogue and of rescore's own tables.
-- Reads pg_catalog, rescore.profiles, rescore.deployments; writes rescore.profiles, rescore.deployments and, by
-- rescore._answer_undefined, rescore.learn_requests and rescore.learn_log.

-- name: table
-- The table a name means, seen with the session's search_path.
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.to_regclass(%(name)s)

-- name: similar_tables
-- Tables that are called so but for the case of letters, or in another schema; the likest first.
SELECT CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN pg_catalog.format('%%I', c.relname)
            ELSE pg_catalog.format('%%I.%%I', n.nspname, c.relname) END
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN pg_catalog.parse_ident(%(name)s) AS p (parts)
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\_%%'
    AND n.nspname NOT IN ('information_schema', 'rescore', 'rescore_compiled')
    AND pg_catalog.lower(c.relname) = pg_catalog.lower(p.parts[pg_catalog.cardinality(p.parts)])
ORDER BY pg_catalog.lower(n.nspname) = pg_catalog.lower(p.parts[1]) DESC,
    pg_catalog.pg_table_is_visible(c.oid) DESC, n.nspname, c.relname
LIMIT 1

-- name: similar_schemas
-- The schema of this name, else one called so but for the case of letters.
SELECT n.nspname FROM pg_catalog.pg_namespace AS n WHERE pg_catalog.lower(n.nspname) = pg_catalog.lower(%(name)s)
ORDER BY n.nspname = %(name)s DESC, n.nspname LIMIT 1

-- name: parse_name
-- The parts of a possibly quoted, possibly qualified name.
SELECT pg_catalog.parse_ident(%(name)s)

-- name: columns
-- Columns with their base types: domains are followed down.
WITH RECURSIVE base AS (
    SELECT a.attnum, a.atttypid AS typid, a.atttypmod AS typmod
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.attnum, t.typbasetype, CASE WHEN t.typtypmod <> -1 THEN t.typtypmod ELSE b.typmod END
    FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.typid AND t.typtype = 'd'
)
SELECT a.attname AS name,
       CASE WHEN t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace THEN pg_catalog.format_type(b.typid, NULL)
            ELSE pg_catalog.format('%%I.%%I', n.nspname, t.typname) END AS type,
       t.typcategory::text AS category,
       (b.typid = 'numeric'::pg_catalog.regtype AND b.typmod <> -1
        AND ((b.typmod - 4) >> 16) <= 100 AND ((((b.typmod - 4) & 2047) # 1024) - 1024) BETWEEN 0 AND 100) AS bounded,
       a.attnotnull AS not_null,
       CASE WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END AS default,
       a.attgenerated <> '' AS generated,
       a.attidentity <> '' AS identity,
       (SELECT k.collname FROM pg_catalog.pg_collation AS k WHERE k.oid = a.attcollation) AS collation,
       coalesce((SELECT k.collisdeterministic FROM pg_catalog.pg_collation AS k WHERE k.oid = a.attcollation), true) AS exact,
       EXISTS (SELECT FROM pg_catalog.pg_constraint AS k WHERE k.conrelid = %(oid)s AND k.contype = 'f'
               AND a.attnum = ANY(k.conkey)) AS refers,
       (t.typcategory = 'E' OR EXISTS (
           SELECT FROM pg_catalog.pg_opclass AS o JOIN pg_catalog.pg_am AS m ON m.oid = o.opcmethod
           WHERE m.amname = 'btree' AND o.opcdefault
             AND (o.opcintype = b.typid OR (t.typcategory = 'S' AND o.opcintype = 'text'::pg_catalog.regtype))
       )) AS comparable,
       (t.typcategory = 'E' OR EXISTS (
           SELECT FROM pg_catalog.pg_opclass AS o JOIN pg_catalog.pg_am AS m ON m.oid = o.opcmethod
           WHERE m.amname = 'hash' AND o.opcdefault
             AND (o.opcintype = b.typid OR (t.typcategory = 'S' AND o.opcintype = 'text'::pg_catalog.regtype))
       )) AS hashable
FROM base AS b
JOIN pg_catalog.pg_type AS t ON t.oid = b.typid AND t.typtype <> 'd'
JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = %(oid)s AND a.attnum = b.attnum
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
ORDER BY a.attnum

-- name: indexes
-- Valid indexes over plain columns, in key order.
SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.place) AS columns,
       i.indisunique AS unique,
       i.indpred IS NOT NULL AS partial,
       i.indimmediate AS immediate
FROM pg_catalog.pg_index AS i
CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %(oid)s AND i.indisvalid AND i.indexprs IS NULL AND k.place <= i.indnkeyatts
GROUP BY i.indexrelid, i.indisunique, i.indpred, i.indimmediate
ORDER BY i.indexrelid

-- name: parts
-- The ordinary tables among a table's partitions.
SELECT n.nspname, c.relname
FROM pg_catalog.pg_partition_tree(%(oid)s) AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.relid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.oid <> %(oid)s
ORDER BY 1, 2

-- name: broken
-- Indexes that were not built to the end, of a table and of its partitions.
SELECT n.nspname, c.relname
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i'
  AND i.indrelid IN (SELECT %(oid)s UNION SELECT t.relid FROM pg_catalog.pg_partition_tree(%(oid)s) AS t)
ORDER BY 1, 2

-- name: installed
-- Whether rescore is installed here, with what the compiler of this version calls.
SELECT pg_catalog.to_regclass('rescore.profiles') IS NOT NULL AND pg_catalog.to_regproc('rescore._secure') IS NOT NULL

-- name: not_built_in
-- What a condition calls that is not PostgreSQL's own: by a cast between types, since it is not named.
SELECT pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0)
FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_index AS i ON i.indexrelid = d.objid
WHERE i.indrelid = 'pg_temp.rescore_check'::pg_catalog.regclass AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)

-- name: stored_profile
-- What was applied before: the table, the definition, the plan, where the backfill stands.
SELECT table_schema, table_name, definition, plan, backfill_from
FROM rescore.profiles WHERE profile = %(profile)s

-- name: keyed_models
-- Every defined model and ensemble with its profile's key type, for the functions that score by key.
SELECT d.model, p.key_type, p.profile
FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
WHERE rescore._defines(p.definition, d.model)
UNION SELECT s.key, p.key_type, p.profile
FROM rescore.profiles AS p CROSS JOIN LATERAL pg_catalog.jsonb_each(p.definition -> 'scores') AS s
WHERE s.value ? 'ensemble' ORDER BY 1

-- name: touch
-- Let no session keep a plan of the old functions.
SELECT rescore._touch()

-- name: definer
-- Whom triggers run as: the owner of the profile table; of one still to be made, the owner of all its
-- event tables where this role may act as that one, else this role.
SELECT d.oid, d.rolname, d.rolname = current_user
FROM pg_catalog.pg_roles AS d
WHERE d.oid = COALESCE(
    (SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE c.oid = pg_catalog.to_regclass(%(profile)s)),
    (SELECT pg_catalog.min(c.relowner::pg_catalog.int8)::pg_catalog.oid FROM pg_catalog.pg_class AS c
     WHERE c.oid IN (SELECT pg_catalog.to_regclass(t.name) FROM pg_catalog.unnest(%(tables)s::pg_catalog.text[] || %(links)s::pg_catalog.text[]) AS t (name))
     HAVING pg_catalog.count(DISTINCT c.relowner) = 1
        AND pg_catalog.bool_and(pg_catalog.pg_has_role(current_user, c.relowner, 'MEMBER'))),
    pg_catalog.to_regrole(pg_catalog.quote_ident(current_user)))

-- name: owner_problems
-- Why they should not run as that role, or could not.
SELECT p.problem, p.hint
FROM rescore._owner_problems(%(definer)s,
    ARRAY(SELECT pg_catalog.to_regclass(t.name)::pg_catalog.oid FROM pg_catalog.unnest(%(profile)s::pg_catalog.text || %(tables)s::pg_catalog.text[]) AS t (name)),
    ARRAY(SELECT pg_catalog.to_regclass(t.name)::pg_catalog.oid FROM pg_catalog.unnest(%(links)s::pg_catalog.text[]) AS t (name))) AS p

-- name: deferred
-- Deferred triggers of the owner, which run as whoever commits.
SELECT d.name FROM rescore._deferred(
    ARRAY(SELECT pg_catalog.to_regclass(t.name)::pg_catalog.oid FROM pg_catalog.unnest(%(tables)s::pg_catalog.text[]) AS t (name))) AS d

-- name: misowned
-- Whether functions of this profile run as another role than that.
SELECT COALESCE(pg_catalog.bool_or(d.owner <> %(definer)s::pg_catalog.regrole), false)
FROM rescore._definers() AS d WHERE d.profile = %(profile)s

-- name: readers
-- The group roles that may read a new profile table.
SELECT r.role FROM rescore._roles() AS r WHERE r.problem IS NULL ORDER BY r.level

-- name: secure
-- Every object to its owner, every right to its role.
SELECT rescore._secure()

-- name: store_profile
-- Record what is applied.
INSERT INTO rescore.profiles (profile, table_schema, table_name, slug, key_column, key_type, clock,
                              definition, source, digest, compiler_version, plan, backfill_from, applied_at, applied_by)
VALUES (%(profile)s, %(schema)s, %(table)s, %(slug)s, %(key)s, %(key_type)s, %(clock)s,
        %(definition)s, %(source)s, %(digest)s, %(version)s, %(plan)s, %(backfill)s, pg_catalog.now(), session_user)
ON CONFLICT (profile) DO UPDATE SET
    table_schema = excluded.table_schema, table_name = excluded.table_name, slug = excluded.slug,
    key_column = excluded.key_column, key_type = excluded.key_type, clock = excluded.clock,
    definition = excluded.definition, source = excluded.source, digest = excluded.digest,
    compiler_version = excluded.compiler_version, plan = excluded.plan,
    backfill_from = excluded.backfill_from, applied_at = excluded.applied_at, applied_by = excluded.applied_by

-- name: store_model
-- Record a model's inputs; which version serves is left alone.
INSERT INTO rescore.deployments (model, profile, score_columns, inputs, spec, engine)
VALUES (%(model)s, %(profile)s, %(scores)s, %(inputs)s, %(spec)s, %(engine)s)
ON CONFLICT (model) DO UPDATE SET
    profile = excluded.profile, score_columns = excluded.score_columns, inputs = excluded.inputs,
    spec = excluded.spec, engine = excluded.engine

-- name: retire
-- Nothing is scored by models that this definition no longer has: payloads are told so.
SELECT rescore._create_router(d.model)
FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
WHERE p.profile = %(profile)s AND NOT rescore._defines(p.definition, d.model)

-- name: answer_undefined
-- Nobody waits for a model to learn that has just been removed.
SELECT rescore._answer_undefined()

-- name: model_owners
-- Which other profiles already have models of these names.
SELECT model, profile FROM rescore.deployments WHERE model = ANY(%(models)s) AND profile <> %(profile)s

-- name: serving
-- The inputs of the versions of each of these models of a profile that score: the champion's first, then what others add.
SELECT s.model, pg_catalog.array_agg(s.name ORDER BY s.is_other, s.n, s.name)
FROM (SELECT d.model, i ->> 'name' AS name, pg_catalog.min(c.n) AS n, pg_catalog.bool_and(m.version <> d.champion) AS is_other
      FROM rescore.deployments AS d JOIN rescore.models AS m ON m.model = d.model AND m.version = ANY(ARRAY[d.champion, d.challenger] || d.shadows)
      CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(m.contract -> 'inputs') WITH ORDINALITY AS c (i, n)
      WHERE d.model = ANY(%(models)s) AND d.profile = %(profile)s GROUP BY 1, 2) AS s
GROUP BY 1

-- name: slug_owner
-- Another profile whose generated functions would have the same names.
SELECT profile FROM rescore.profiles WHERE slug = %(slug)s AND profile <> %(profile)s

-- name: create_router
-- Make the model's routers.
SELECT rescore._create_router(%(model)s)

-- name: make_partitions
-- This month's and the next's, for snapshots that events' triggers take: these make none.
SELECT rescore._snapshot_partition(c.moment), rescore._snapshot_partition(c.moment + interval '31 days')
FROM (SELECT CASE WHEN %(clock)s = 'session' THEN NULLIF(pg_catalog.current_setting('rescore.clock', true), '')::timestamptz END) AS s (moment)
CROSS JOIN LATERAL (SELECT COALESCE(s.moment, pg_catalog.clock_timestamp())) AS c (moment)

-- name: present_triggers
-- Triggers of rescore that are there and fire when they should, with their table.
SELECT n.nspname, c.relname, t.tgname
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgname = ANY(%(names)s)
  AND (t.tgenabled = 'A' OR (t.tgenabled = 'O' AND t.tgname <> ALL(%(always)s)) OR (t.tgenabled = 'D' AND %(paused)s))

-- name: present_functions
-- Names of generated functions that are there.
SELECT DISTINCT p.proname FROM pg_catalog.pg_proc AS p
WHERE p.pronamespace IN (SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'rescore_compiled')
  AND p.proname = ANY(%(names)s)

-- name: set_backfill
-- How far the backfill has come (NULL: done).
UPDATE rescore.profiles SET backfill_from = %(position)s WHERE profile = %(profile)s

-- name: apply_lock
-- One definition is applied at a time, and none while a version is published.
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('rescore.apply', 0)), rescore._lock()

-- name: lock_timeout
-- How long to wait for a lock: as told, but less than the server waits before it looks for deadlocks.
SELECT pg_catalog.set_config('lock_timeout', greatest(1, least(
    %(seconds)s::float8 * 1000,
    500 * extract(epoch FROM pg_catalog.current_setting('deadlock_timeout')::interval)))::int8::text, true)

-- name: backfill_lock
-- One backfill of a profile at a time: they share the position they resume from.
SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended('rescore.backfill ' || %(profile)s::text, 0))

-- name: backfill_unlock
-- Let the next one go on.
SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended('rescore.backfill ' || %(profile)s::text, 0))

-- name: backfill_incident
-- Why a customer cannot be counted.
SELECT rescore._incident(%(profile)s, NULL, NULL, %(sqlstate)s, %(message)s, pg_catalog.concat(E'backfill\n', %(context)s::text))

-- name: estimate
-- About how many rows the profile has.
SELECT greatest(c.reltuples, 0)::bigint FROM pg_catalog.pg_class AS c WHERE c.oid = pg_catalog.to_regclass(%(name)s)

-- name: hll_schema
-- Where the extension hll is, if it is in this database.
SELECT n.nspname FROM pg_catalog.pg_extension AS x JOIN pg_catalog.pg_namespace AS n ON n.oid = x.extnamespace
WHERE x.extname = 'hll'

-- name: shape
-- What a profile depends on of a table: types of columns, partitions.
SELECT rescore._shape(pg_catalog.to_regclass(%(name)s), %(columns)s::text[])

-- name: parts_come
-- Whether partitions came with rows of their own, or went, since the profile was applied.
SELECT t.problem FROM rescore.table_problems() AS t WHERE t.profile = %(profile)s AND t.problem LIKE 'partition %%'

-- name: strays
-- Triggers of this profile on tables that are no longer its own.
SELECT n.nspname, c.relname, t.name
FROM rescore._triggers(%(profile)s) AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.relation
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace

-- name: clock_is_set
-- Whether the session says what time it is for profiles with `clock: session`.
SELECT nullif(pg_catalog.current_setting('rescore.clock', true), '') IS NOT NULL

-- name: paused
-- Whether a profile is paused.
SELECT rescore._is_paused(%(profile)s)

-- name: stay_paused
-- What was written anew is disabled like the rest.
SELECT rescore._enable_triggers(%(profile)s, false)
