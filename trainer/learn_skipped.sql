-- How many snapshots between two positions are not examples, by reason.
-- Calls nothing; reads rescore.snapshots.
SELECT CASE WHEN s.censored OR (s.label IS NULL AND %(labelled)s) THEN 'censored' WHEN s.quarantined IS NOT NULL THEN 'quarantined'
            WHEN s.treated_at IS NOT NULL THEN 'treated' WHEN s.version <> ALL (%(versions)s::pg_catalog.int4[]) THEN 'other columns'
            ELSE 'in the training period' END AS reason, pg_catalog.count(*)
FROM rescore.snapshots AS s
WHERE s.model = %(model)s AND (s.resolved, s.id) > (%(xid)s::text::pg_catalog.xid8, %(id)s)
  AND (s.resolved, s.id) <= (%(to_xid)s::text::pg_catalog.xid8, %(to_id)s) AND s.resolved IS NOT NULL
  AND (s.censored OR (s.label IS NULL AND %(labelled)s) OR s.quarantined IS NOT NULL OR s.treated_at IS NOT NULL
       OR s.version <> ALL (%(versions)s::pg_catalog.int4[]) OR s.taken_at <= %(after)s)
GROUP BY 1 ORDER BY 1
