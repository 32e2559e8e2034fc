-- The runner, as rescore.health tells of it. Calls nothing; reads the view rescore.health.
SELECT h.status, h.detail FROM rescore.health AS h WHERE h."check" = 'runner'
