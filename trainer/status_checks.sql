-- The runner, and learning where it is not well, as rescore.health tells of them. Calls nothing; reads the view rescore.health.
SELECT h."check", h.status, h.detail FROM rescore.health AS h
WHERE h."check" = 'runner' OR (h."check" = 'learning' AND h.status <> 'ok')
ORDER BY h."check" DESC
