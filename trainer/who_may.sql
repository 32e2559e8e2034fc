-- The group role whose members may do what this session may not, by the last word of the server's message, which names the
-- table, view or function. None where that is not rescore's, or where there is no such role.
-- Calls rescore._rights; reads the catalogue.
SELECT g.role
FROM (
    SELECT w.level, w.kind FROM rescore._rights() AS w WHERE w.level < 4 AND w.kind IN ('relation', 'function') AND %(name)s = ANY (w.names)
    -- What is granted to nobody is its owner's.
    UNION ALL
    SELECT 3, k.kind FROM (VALUES ('relation'), ('function')) AS k (kind)
) AS w
JOIN (VALUES (1, 'rescore_reader'), (2, 'rescore_trainer'), (3, 'rescore_admin')) AS g (level, role)
  ON g.level = greatest(w.level, CASE WHEN %(admin)s THEN 3 ELSE 0 END)
JOIN pg_catalog.pg_roles AS r ON r.rolname = g.role AND NOT pg_catalog.pg_has_role(r.oid, 'USAGE')
WHERE CASE w.kind
    WHEN 'relation' THEN NOT pg_catalog.has_table_privilege(pg_catalog.to_regclass('rescore.' || pg_catalog.quote_ident(%(name)s)), 'SELECT')
    ELSE EXISTS (SELECT FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
                 WHERE n.nspname = 'rescore' AND p.proname = %(name)s)
END
ORDER BY g.level LIMIT 1
