-- The newest version after the champion that learning let through and only recorded, and that has not
-- challenged yet. Calls nothing; reads rescore.learn_log, rescore.deployments, rescore.deployment_history.
SELECT pg_catalog.max(l.version)
FROM rescore.learn_log AS l JOIN rescore.deployments AS d ON d.model = l.model
WHERE l.model = %(model)s AND l.action = 'candidate' AND l.version > d.champion
  AND NOT EXISTS (SELECT FROM rescore.deployment_history AS h
                  WHERE h.model = l.model AND h.version = l.version AND h.action IN ('challenge', 'shadow', 'demote', 'promote'))
