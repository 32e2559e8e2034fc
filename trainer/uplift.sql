-- Outcomes of the customers who may be treated and of the holdout, summed by group of customers (256 by a
-- hash of the key), which is all that intervals need. Calls nothing; reads rescore.snapshots.
SELECT pg_catalog.get_byte(pg_catalog.sha256(pg_catalog.convert_to('uplift:' || s.key, 'UTF8')), 7) AS members, s.holdout,
       pg_catalog.count(*)::pg_catalog.float8, pg_catalog.sum(s.label),
       pg_catalog.count(*) FILTER (WHERE s.treated_at IS NOT NULL)::pg_catalog.float8, pg_catalog.count(DISTINCT s.key)
FROM rescore.snapshots AS s
WHERE s.model = %(model)s AND s.resolved IS NOT NULL AND s.label IS NOT NULL AND NOT s.censored AND s.quarantined IS NULL
  AND s.holdout IS NOT NULL AND (%(since)s::pg_catalog.timestamptz IS NULL OR s.taken_at >= %(since)s::pg_catalog.timestamptz)
GROUP BY 1, 2
