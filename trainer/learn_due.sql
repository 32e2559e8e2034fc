-- The last request that no round has answered; seconds since the last round that found something, by the profile's clock.
-- Calls rescore._known_at; reads rescore.learn_requests, rescore.learn_log, rescore.snapshots, rescore.released, rescore.deployments, rescore.profiles.
SELECT (SELECT pg_catalog.max(r.id) FROM rescore.learn_requests AS r WHERE r.model = %(model)s AND r.done_at IS NULL),
       extract(epoch FROM CASE p.clock
           WHEN 'now' THEN pg_catalog.now() - g.at
           -- A session's clock may stand anywhere: by the moments at which outcomes became known.
           ELSE rescore._known_at(%(model)s) - (g.metrics ->> 'clock')::timestamptz END)::pg_catalog.float8
FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
LEFT JOIN LATERAL (SELECT l.at, l.metrics FROM rescore.learn_log AS l
                   -- Without a parent it is no round: a request that was answered.
                   WHERE l.model = d.model AND l.action <> 'nothing' AND l.parent IS NOT NULL ORDER BY l.id DESC LIMIT 1) AS g ON true
WHERE d.model = %(model)s
