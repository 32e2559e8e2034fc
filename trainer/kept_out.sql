-- Snapshots of a model that are kept out of learning, by reason: those named, where some are, taken within the period.
-- Calls nothing; reads rescore.snapshots.
SELECT s.quarantined AS reason, pg_catalog.count(*) AS snapshots, pg_catalog.min(s.taken_at) AS first_at, pg_catalog.max(s.taken_at) AS last_at,
       pg_catalog.array_agg(s.id) AS ids
FROM rescore.snapshots AS s
WHERE s.model = %(model)s AND s.quarantined IS NOT NULL
  AND (%(ids)s::pg_catalog.int8[] IS NULL OR s.id = ANY (%(ids)s::pg_catalog.int8[]))
  AND (%(since)s::pg_catalog.timestamptz IS NULL OR s.taken_at >= %(since)s::pg_catalog.timestamptz)
  AND (%(until)s::pg_catalog.timestamptz IS NULL OR s.taken_at < %(until)s::pg_catalog.timestamptz)
GROUP BY s.quarantined ORDER BY pg_catalog.max(s.taken_at) DESC, s.quarantined
