-- Notes that a cause has been told. Calls nothing; writes rescore.alerts.
UPDATE rescore.alerts AS a SET sent_at = pg_catalog.now() WHERE a.cause = %s
