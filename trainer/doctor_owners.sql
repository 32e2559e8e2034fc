-- Profiles whose triggers run as another role than their table's owner, or where others could use it.
-- Calls rescore._definers, rescore._watched, rescore._owner_problems; reads the catalogue.
SELECT pg_catalog.string_agg(found.problem, '; ' ORDER BY found.problem)
FROM (
    SELECT DISTINCT pg_catalog.format('triggers of %s run as %s, not as the owner of its table, %s', d.profile,
                                      d.owner::pg_catalog.regrole, d.definer::pg_catalog.regrole) AS problem
    FROM rescore._definers() AS d WHERE d.owner <> d.definer
    UNION
    SELECT p.problem FROM rescore._watched() AS w
    CROSS JOIN LATERAL rescore._owner_problems(w.definer, w.tables, w.links) AS p
) AS found
