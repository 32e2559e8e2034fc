-- A version with what is known of its training, and whether a round has gone on from it before.
-- Calls nothing; reads rescore.models, rescore.lineage and rescore.learn_log.
SELECT m.artifact, m.format, m.contract, m.created_at, n.memory, n.reference, n.customers, m.metrics,
       coalesce(n.examples > 0, false) AND n.watermark_xid IS NULL AS is_trained,
       EXISTS (SELECT FROM rescore.learn_log AS g WHERE g.model = m.model AND (g.parent = m.version OR g.version = m.version)) AS is_known
FROM rescore.models AS m
LEFT JOIN rescore.lineage AS n ON n.model = m.model AND n.version = m.version
WHERE m.model = %s AND m.version = %s
