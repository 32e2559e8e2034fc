-- The version that learning goes on from since the last round. Calls nothing; reads rescore.learning.
SELECT coalesce(l.line, l.champion) FROM rescore.learning AS l WHERE l.model = %s
