-- Notes that what a rule had found is gone. Calls nothing; writes rescore.alerts.
UPDATE rescore.alerts AS a SET resolved_at = pg_catalog.now()
WHERE a.rule = %s AND a.resolved_at IS NULL AND a.cause <> ALL(%s::pg_catalog.text[])
