-- Resolved snapshots that one of two versions scored, with both scores where both exist.
-- Calls nothing; reads rescore.snapshots.
SELECT s.key, s.label, s.version, s.serving, s.treated_at IS NOT NULL,
       CASE WHEN s.version = %(candidate)s THEN s.score ELSE (s.others ->> %(candidate)s::pg_catalog.text)::pg_catalog.float8 END,
       CASE WHEN s.version = %(champion)s THEN s.score ELSE (s.others ->> %(champion)s::pg_catalog.text)::pg_catalog.float8 END,
       s.taken_at >= (SELECT pg_catalog.min(c.taken_at) FROM rescore.snapshots AS c
                      WHERE c.model = %(model)s AND c.version = %(candidate)s AND c.serving = 'challenger') AS in_trial
FROM rescore.snapshots AS s
WHERE s.model = %(model)s AND s.resolved IS NOT NULL AND s.label IS NOT NULL AND NOT s.censored AND s.quarantined IS NULL
  AND (%(since)s::pg_catalog.timestamptz IS NULL OR s.taken_at >= %(since)s)
  AND (s.version IN (%(candidate)s, %(champion)s) OR s.others ?| ARRAY[%(candidate)s, %(champion)s]::pg_catalog.text[])
