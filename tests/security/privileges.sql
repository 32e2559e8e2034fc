-- Who may do what: one row per object that anybody but its owner has a right to, one column per role.
-- Calls rescore._objects; reads the catalogue. Helpers, which run as their caller and write nothing, are one row.
WITH role (place, name) AS (
    SELECT r.ordinality, r.name FROM unnest(%(roles)s::text[]) WITH ORDINALITY AS r (name, ordinality)
), object AS (
    SELECT CASE o.kind WHEN 'schema' THEN 1 WHEN 'relation' THEN 2 WHEN 'sequence' THEN 3 ELSE 4 END AS rank,
           CASE WHEN o.kind = 'function' AND o.name = 'helper' THEN 'ROUTINE rescore._helpers'
                ELSE regexp_replace(o.shown, '\(.*', '') END AS shown,
           o.oid, o.kind, o.owner
    FROM rescore._objects() AS o
    UNION ALL
    SELECT 1, format('SCHEMA %%I', n.nspname), n.oid, 'schema', n.nspowner FROM pg_namespace AS n WHERE n.nspname = 'shop'
    UNION ALL
    SELECT 2, format('TABLE %%s', c.oid::regclass), c.oid, 'relation', c.relowner
    FROM pg_class AS c WHERE c.relnamespace = 'shop'::regnamespace AND c.relkind = 'r'
), held AS (
    SELECT o.rank, o.shown, r.place, CASE
        WHEN r.name = pg_get_userbyid(o.owner) THEN 'owner'
        ELSE coalesce((SELECT string_agg(p, ',' ORDER BY n) FROM unnest(CASE o.kind
                WHEN 'schema' THEN '{USAGE,CREATE}'::text[]
                WHEN 'sequence' THEN '{USAGE,SELECT,UPDATE}'
                WHEN 'relation' THEN '{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'
                ELSE '{EXECUTE}' END) WITH ORDINALITY AS w (p, n)
            WHERE CASE o.kind WHEN 'schema' THEN has_schema_privilege(r.name, o.oid, p)
                  WHEN 'sequence' THEN has_sequence_privilege(r.name, o.oid, p)
                  WHEN 'relation' THEN has_table_privilege(r.name, o.oid, p)
                  ELSE has_function_privilege(r.name, o.oid, p) END), '-') END AS rights
    FROM object AS o CROSS JOIN role AS r
), listed AS (
    SELECT h.rank, h.shown, h.place, string_agg(DISTINCT h.rights, ' or ') AS rights FROM held AS h GROUP BY 1, 2, 3
)
SELECT l.shown, array_agg(l.rights ORDER BY l.place)
FROM listed AS l GROUP BY l.rank, l.shown
HAVING bool_or(l.rights NOT IN ('-', 'owner')) ORDER BY l.rank, l.shown COLLATE "C"
