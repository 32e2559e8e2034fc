-- The version whose place a version took when it first served. Calls nothing; reads rescore.deployment_history.
SELECT h.previous FROM rescore.deployment_history AS h
WHERE h.model = %s AND h.version = %s AND h.action IN ('publish', 'promote') ORDER BY h.id LIMIT 1
