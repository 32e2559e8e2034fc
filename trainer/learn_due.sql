-- The last request that no round has answered; seconds since the last round, by the profile's clock.
-- Calls nothing; reads rescore.learn_requests, rescore.learn_log, rescore.snapshots, rescore.deployments, rescore.profiles.
SELECT (SELECT pg_catalog.max(r.id) FROM rescore.learn_requests AS r WHERE r.model = %(model)s AND r.done_at IS NULL),
       extract(epoch FROM CASE p.clock
           WHEN 'now' THEN pg_catalog.now() - (SELECT g.at FROM rescore.learn_log AS g
               -- Without a parent it is no round: a request that was answered.
               WHERE g.model = %(model)s AND g.parent IS NOT NULL ORDER BY g.id DESC LIMIT 1)
           -- A session's clock may stand anywhere: by the moments at which outcomes became known.
           ELSE (SELECT pg_catalog.max(s.resolved_at) FROM rescore.snapshots AS s
                 WHERE s.model = %(model)s AND (s.resolved, s.id) > (%(xid)s::text::pg_catalog.xid8, %(id)s) AND s.resolved IS NOT NULL)
                - (SELECT s.resolved_at FROM rescore.snapshots AS s
                   WHERE s.model = %(model)s AND s.resolved = %(xid)s::text::pg_catalog.xid8 AND s.id = %(id)s)
           END)::pg_catalog.float8
FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile WHERE d.model = %(model)s
