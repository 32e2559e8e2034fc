-- How many snapshots were resolved between two positions; by the index alone where the table was vacuumed.
-- Calls nothing; reads rescore.snapshots.
SELECT pg_catalog.count(*) FROM rescore.snapshots AS s
WHERE s.model = %(model)s AND (s.resolved, s.id) > (%(xid)s::text::pg_catalog.xid8, %(id)s)
  AND (s.resolved, s.id) <= (%(to_xid)s::text::pg_catalog.xid8, %(to_id)s) AND s.resolved IS NOT NULL
