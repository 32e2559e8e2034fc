-- What came of the scores a version gave as champion, of a share of the customers: those whose hash, which is
-- kept since 077_resolve.sql keeps it, is no less than `least`. Calls rescore._hash; reads rescore.snapshots.
SELECT s.key, s.label, s.score, s.design
FROM rescore.snapshots AS s
WHERE s.model = %(model)s AND s.version = %(version)s AND s.serving = 'champion' AND s.taken_at >= %(began)s
  AND s.resolved IS NOT NULL AND s.label IN (0, 1) AND s.score IS NOT NULL AND NOT s.censored AND s.quarantined IS NULL AND s.treated_at IS NULL
  AND coalesce(s.hash, rescore._hash('learn ' || s.model, s.key)) >= %(least)s
