-- Notes what a rule has found; true when it is still to be told. Calls nothing; writes rescore.alerts.
INSERT INTO rescore.alerts AS a (cause, rule, message) VALUES (%s, %s, %s)
ON CONFLICT (cause) DO UPDATE SET
    message = excluded.message, last_at = pg_catalog.now(), resolved_at = NULL,
    first_at = CASE WHEN a.resolved_at IS NULL THEN a.first_at ELSE pg_catalog.now() END,
    sent_at = CASE WHEN a.resolved_at IS NULL THEN a.sent_at END
RETURNING a.sent_at IS NULL
