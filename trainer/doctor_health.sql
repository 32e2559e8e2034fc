-- Checks that are not well, but for those the doctor makes itself. Calls nothing; reads the view
-- rescore.health.
SELECT h."check", h.status, h.detail
FROM rescore.health AS h
WHERE h.status <> 'ok' AND h."check" NOT IN ('incidents', 'backfill')
ORDER BY h."check"
