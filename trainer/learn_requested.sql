-- The last request that no round has answered. Calls nothing; reads rescore.learn_requests.
SELECT coalesce(pg_catalog.max(r.id), 0) FROM rescore.learn_requests AS r WHERE r.model = %s AND r.done_at IS NULL
