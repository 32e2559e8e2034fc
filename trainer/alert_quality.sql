-- What came of the newest scores of a model. Calls rescore._clock_of; reads rescore.snapshots.
SELECT s.key, s.label, s.score
FROM rescore.snapshots AS s
WHERE s.model = %(model)s AND s.resolved IS NOT NULL AND s.label IS NOT NULL AND s.score IS NOT NULL
  AND NOT s.censored AND s.quarantined IS NULL AND s.treated_at IS NULL AND s.label IN (0, 1)
  AND s.taken_at >= (SELECT rescore._clock_of(%(model)s)) - %(within)s::pg_catalog.interval
