-- What became of the tables under a profile's triggers, and what to do about it.
-- Calls: 074_pause. Tables: reads rescore.profiles and the catalogue.

CREATE OR REPLACE FUNCTION rescore._table(shown text)
RETURNS oid
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- to_regclass wants USAGE on the schema, which who owns rescore has on those of profile tables alone.
    SELECT c.oid FROM parse_ident(shown) AS p (parts)
    JOIN pg_namespace AS n ON n.nspname = p.parts[1] JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = p.parts[2]
$$;
COMMENT ON FUNCTION rescore._table(text) IS
    'The table of a name with its schema, whether or not the caller may use that schema; null when there is none.';

CREATE OR REPLACE FUNCTION rescore._shape(relation regclass, columns text[])
RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'columns', (SELECT coalesce(jsonb_object_agg(a.attname, format_type(a.atttypid, CASE WHEN a.atttypid = 'numeric'::regtype THEN a.atttypmod END)), '{}')
                    FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attname = ANY (columns) AND NOT a.attisdropped),
        'parts', (SELECT coalesce(jsonb_agg(i.inhrelid::regclass::text ORDER BY i.inhrelid::regclass::text), '[]')
                  FROM pg_inherits AS i WHERE i.inhparent = relation))
$$;
COMMENT ON FUNCTION rescore._shape(regclass, text[]) IS
    'A table as far as a profile depends on it: the types of these columns, and its partitions or the tables that inherit from it.';

CREATE OR REPLACE FUNCTION rescore._born_empty(part regclass)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- A partition made by the transaction that made it one had no rows before; the row of a system column never changes.
    SELECT i.xmin = a.xmin FROM pg_inherits AS i JOIN pg_attribute AS a ON a.attrelid = i.inhrelid AND a.attname = 'ctid'
    WHERE i.inhrelid = part
$$;
COMMENT ON FUNCTION rescore._born_empty(regclass) IS
    'Whether a partition was created as one, rather than attached later with rows that no trigger saw.';

CREATE OR REPLACE FUNCTION rescore._watched_tables()
RETURNS TABLE (profile text, slug text, relation oid, shown text, was jsonb, shape jsonb, kind "char")
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.profile, p.slug, c.oid, format('%I.%I', t.v ->> 'schema', t.v ->> 'name'), t.v -> 'shape',
           CASE WHEN c.oid IS NOT NULL THEN rescore._shape(c.oid, ARRAY(SELECT jsonb_object_keys(t.v -> 'shape' -> 'columns'))) END, c.relkind
    FROM rescore.profiles AS p
    CROSS JOIN LATERAL jsonb_array_elements(coalesce(p.plan -> 'tables', '[]')) AS t (v)
    LEFT JOIN pg_class AS c ON c.oid = rescore._table(format('%I.%I', t.v ->> 'schema', t.v ->> 'name'))
$$;
COMMENT ON FUNCTION rescore._watched_tables() IS
    'The event and link tables of every profile, as they were when it was applied and as they are; no oid for one that is gone.';

CREATE OR REPLACE FUNCTION rescore._own_tables()
RETURNS TABLE (profile text, shown text, here oid, now_on text)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.profile, n.shown, n.here, (SELECT min(t.tgrelid::regclass::text) FROM pg_proc AS f JOIN pg_trigger AS t ON t.tgfoid = f.oid AND t.tgparentid = 0
                                        WHERE f.pronamespace = 'rescore_compiled'::regnamespace AND f.proname = p.slug || '__row_insert'
                                          AND t.tgrelid IS DISTINCT FROM n.here)
    FROM rescore.profiles AS p
    CROSS JOIN LATERAL (SELECT format('%I.%I', p.table_schema, p.table_name) AS shown,
                               rescore._table(format('%I.%I', p.table_schema, p.table_name)) AS here) AS n
$$;
COMMENT ON FUNCTION rescore._own_tables() IS
    'The table of every profile, and under which other name its triggers are found.';

CREATE OR REPLACE FUNCTION rescore.table_problems()
RETURNS TABLE (profile text, problem text, hint text)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    WITH w AS MATERIALIZED (SELECT * FROM rescore._watched_tables()),
         strays AS (
             SELECT w.profile, w.shown, min(g.shown) AS now_on
             FROM w JOIN rescore.profiles AS p ON p.profile = w.profile
             JOIN LATERAL jsonb_array_elements(p.plan -> 'triggers') AS t (v) ON format('%I.%I', t.v ->> 0, t.v ->> 1) = w.shown
             CROSS JOIN LATERAL (SELECT r.shown FROM rescore._triggers(w.profile) AS r
                                 WHERE r.name = t.v ->> 2 AND r.relation IS DISTINCT FROM w.relation) AS g
             GROUP BY 1, 2)
    SELECT w.profile, CASE WHEN s.now_on IS NULL THEN format('table %s is gone', w.shown) ELSE format('table %s is now called %s', w.shown, s.now_on) END,
           'give it its name back, or name the other table in the definition and run `rescore apply`'
    FROM w LEFT JOIN strays AS s USING (profile, shown) WHERE w.relation IS NULL
    UNION ALL
    SELECT p.profile, format('table %s is gone, which labels or treatments are read from', r.shown),
           'bring it back, or change the definition and run `rescore apply`'
    FROM rescore.profiles AS p CROSS JOIN LATERAL jsonb_array_elements(coalesce(p.plan -> 'reads', '[]')) AS t (v)
    CROSS JOIN LATERAL (SELECT format('%I.%I', t.v ->> 0, t.v ->> 1) AS shown) AS r
    WHERE rescore._table(r.shown) IS NULL AND NOT EXISTS (SELECT FROM w WHERE w.profile = p.profile AND w.shown = r.shown)
    UNION ALL
    SELECT w.profile, format('another table has taken the place of %s, whose triggers are on %s', w.shown, s.now_on), 'run `rescore apply`'
    FROM w JOIN strays AS s USING (profile, shown) WHERE w.relation IS NOT NULL
    UNION ALL
    SELECT w.profile, format('column %I of %s ', c.key, w.shown)
               || CASE WHEN now.type IS NULL THEN 'is gone' ELSE format('is now %s, and was %s', now.type, c.value) END,
           CASE WHEN now.type IS NULL THEN 'bring it back, or change the definition and run `rescore apply`' ELSE 'run `rescore apply`' END
    FROM w CROSS JOIN LATERAL jsonb_each_text(w.was -> 'columns') AS c
    CROSS JOIN LATERAL (SELECT w.shape -> 'columns' ->> c.key AS type) AS now
    WHERE w.relation IS NOT NULL AND now.type IS DISTINCT FROM c.value
    UNION ALL
    SELECT w.profile, format('partition %s of %s was %s', coalesce(b.part, a.part), w.shown, CASE WHEN b.part IS NULL THEN 'attached' ELSE 'detached or dropped' END),
           'run `rescore apply`, which counts anew'
    FROM w CROSS JOIN LATERAL (
        SELECT * FROM (SELECT jsonb_array_elements_text(w.was -> 'parts') AS part) AS b
        FULL JOIN (SELECT jsonb_array_elements_text(w.shape -> 'parts') AS part) AS a USING (part)) AS both_
    LEFT JOIN LATERAL (SELECT both_.part WHERE w.was -> 'parts' ? both_.part) AS b ON true
    LEFT JOIN LATERAL (SELECT both_.part WHERE w.shape -> 'parts' ? both_.part) AS a ON true
    WHERE w.kind = 'p' AND (a.part IS NULL OR b.part IS NULL AND NOT coalesce(rescore._born_empty(rescore._table(a.part)), false))
    UNION ALL
    SELECT w.profile, format('%s inherits from %s: what is written to it directly is not counted', i.part, w.shown),
           'make it a partition, or name it in the definition as an event table of its own'
    FROM w CROSS JOIN LATERAL jsonb_array_elements_text(w.shape -> 'parts') AS i (part) WHERE w.kind = 'r'
    UNION ALL
    SELECT o.profile, CASE WHEN o.here IS NULL THEN format('its own table %s is ', o.shown) || coalesce('now called ' || o.now_on, 'gone')
                           ELSE format('another table has taken the place of its own table %s, which is now called %s', o.shown, o.now_on) END,
           'give it its name back; `rescore apply` would begin anew with another table'
    FROM rescore._own_tables() AS o WHERE o.here IS NULL OR o.now_on IS NOT NULL
$$;
COMMENT ON FUNCTION rescore.table_problems() IS
    'What became of the tables under the triggers since their profile was applied (altered, renamed, swapped, partitions attached or detached), of labels and treatments (gone), and what to do about it.';

CREATE OR REPLACE FUNCTION rescore.trigger_problems()
RETURNS TABLE (profile text, trigger text, problem text)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    WITH wanted AS (
        SELECT p.profile, CASE a.placed WHEN true THEN n.v ->> -1 ELSE n.v #>> '{}' END AS name, a.placed,
               CASE WHEN a.placed THEN rescore._table(format('%I.%I', n.v ->> 0, n.v ->> 1)) END AS relation
        FROM rescore.profiles AS p CROSS JOIN LATERAL jsonb_array_elements(coalesce(p.plan -> 'triggers', '[]')) AS n (v)
        -- The first version noted names alone.
        CROSS JOIN LATERAL (SELECT jsonb_typeof(n.v) = 'array' AS placed) AS a)
    SELECT w.profile, w.name, CASE WHEN t.oid IS NULL THEN 'missing' ELSE 'disabled' END
    FROM wanted AS w
    LEFT JOIN pg_trigger AS t ON t.tgname = w.name AND t.tgparentid = 0 AND (t.tgrelid = w.relation OR NOT w.placed)
    WHERE t.oid IS NULL OR NOT rescore._is_paused(w.profile)
          AND (t.tgenabled NOT IN ('O', 'A') OR EXISTS (SELECT FROM pg_trigger AS c WHERE c.tgparentid = t.oid AND c.tgenabled NOT IN ('O', 'A')))
$$;
COMMENT ON FUNCTION rescore.trigger_problems() IS
    'Triggers of rescore that are missing, or disabled though their profile is not paused.';

CREATE OR REPLACE FUNCTION rescore._know_parts(profile text)
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    -- Noted while they are there: one that goes later is then missed.
    UPDATE rescore.profiles AS p SET plan = jsonb_set(p.plan, '{tables}', n.tables)
    FROM (SELECT jsonb_agg(CASE WHEN b.parts IS NULL THEN t.v ELSE jsonb_set(t.v, '{shape,parts}', b.parts) END ORDER BY t.n) AS tables
          FROM rescore.profiles AS q CROSS JOIN LATERAL jsonb_array_elements(q.plan -> 'tables') WITH ORDINALITY AS t (v, n)
          LEFT JOIN rescore._watched_tables() AS w ON w.profile = q.profile AND w.shown = format('%I.%I', t.v ->> 'schema', t.v ->> 'name') AND w.kind = 'p'
          CROSS JOIN LATERAL (
              SELECT jsonb_agg(a.part ORDER BY a.part) AS parts
              FROM (SELECT jsonb_array_elements_text(w.was -> 'parts') AS part
                    UNION SELECT s.part FROM jsonb_array_elements_text(w.shape -> 'parts') AS s (part)
                    WHERE rescore._born_empty(rescore._table(s.part))) AS a) AS b
          WHERE q.profile = _know_parts.profile) AS n
    WHERE p.profile = _know_parts.profile AND n.tables <> p.plan -> 'tables'
$$;
COMMENT ON FUNCTION rescore._know_parts(text) IS
    'Notes partitions that were created since a profile was applied, so that it is seen when they go.';
