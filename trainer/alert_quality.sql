-- What came of the newest scores of a model, where it tells a number as asked (`number`), or else an outcome: of random pages of the
-- partitions since then, so that no more is read however much was logged, and no customers are preferred.
-- Calls nothing; reads rescore.snapshots, rescore.deployments, rescore.profiles.
SELECT s.key, s.label, s.score
FROM rescore.snapshots AS s TABLESAMPLE SYSTEM (%(percent)s)
WHERE s.model = %(model)s AND s.resolved IS NOT NULL AND s.label IS NOT NULL AND s.score IS NOT NULL
  AND NOT s.censored AND s.quarantined IS NULL AND s.treated_at IS NULL AND (%(number)s OR s.label IN (0, 1))
  AND %(number)s = coalesce((SELECT (p.plan #> ARRAY['labels', d.spec ->> 'label', 'number'])::boolean
                             FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile WHERE d.model = %(model)s), false)
  AND s.taken_at >= %(since)s::pg_catalog.timestamptz
