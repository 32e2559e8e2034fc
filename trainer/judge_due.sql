-- Versions of a model that served and of whose scores enough more outcomes are known to judge them anew: a
-- quarter more than when they were judged last, or the last of them. What resolved them has ended for all.
-- The day before its first outcome is looked at, too: some of its scores may come to be known later. And those
-- whose outcomes were corrected, quarantined or released since they were judged by them.
-- Calls rescore._ended; reads rescore.snapshots, rescore.judgements and rescore.relabelled.
WITH since AS (
    SELECT coalesce(pg_catalog.min(j.resolved::pg_catalog.text::pg_catalog.numeric) FILTER (WHERE j.open > 0), pg_catalog.max(j.resolved::pg_catalog.text::pg_catalog.numeric), 0)
           ::pg_catalog.text::pg_catalog.xid8 AS xid
    FROM rescore.judgements AS j WHERE j.model = %(model)s
), lately AS (
    SELECT s.version, pg_catalog.min(s.taken_at) AS began, pg_catalog.count(*) AS resolved
    FROM since CROSS JOIN rescore.snapshots AS s LEFT JOIN rescore.judgements AS j ON j.model = s.model AND j.version = s.version
    WHERE s.model = %(model)s AND s.serving = 'champion' AND s.resolved > since.xid AND s.resolved < (SELECT rescore._ended())
      AND (j.resolved IS NULL OR s.resolved > j.resolved)
    GROUP BY s.version
), relabelled AS (
    SELECT DISTINCT j.version
    FROM rescore.relabelled AS r JOIN rescore.judgements AS j ON j.model = r.model AND j.version = r.version
    WHERE r.model = %(model)s AND r.xid > j.resolved AND r.xid < (SELECT rescore._ended())
)
SELECT version, least(l.began - interval '1 day', pg_catalog.lower(j.period))
FROM lately AS l FULL JOIN relabelled AS r USING (version) LEFT JOIN (SELECT * FROM rescore.judgements AS o WHERE o.model = %(model)s) AS j USING (version)
WHERE r.version IS NOT NULL OR j.version IS NULL OR l.resolved * 4 >= j.snapshots - j.open
   OR NOT EXISTS (SELECT FROM rescore.snapshots AS o
                  WHERE o.model = %(model)s AND o.version = l.version AND o.resolved IS NULL AND o.serving = 'champion' AND o.taken_at >= l.began)
ORDER BY version
