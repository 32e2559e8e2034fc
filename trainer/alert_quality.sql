-- What came of the newest scores of a model that tells whether something happens: of random pages of the
-- partitions since then, so that no more is read however much was logged, and no customers are preferred.
-- Calls nothing; reads rescore.snapshots, rescore.deployments, rescore.profiles.
SELECT s.key, s.label, s.score
FROM rescore.snapshots AS s TABLESAMPLE SYSTEM (%(percent)s)
WHERE s.model = %(model)s AND s.resolved IS NOT NULL AND s.label IS NOT NULL AND s.score IS NOT NULL
  AND NOT s.censored AND s.quarantined IS NULL AND s.treated_at IS NULL AND s.label IN (0, 1)
  AND NOT EXISTS (SELECT FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
                  WHERE d.model = %(model)s AND (p.plan #> ARRAY['labels', d.spec ->> 'label', 'number'])::boolean)
  AND s.taken_at >= %(since)s::pg_catalog.timestamptz
