-- Keeps how a job of the runner went, in place of how it went before; rows of jobs it no longer has go.
-- Calls nothing; writes rescore.runner_jobs.
WITH gone AS (DELETE FROM rescore.runner_jobs AS g WHERE g.job <> ALL(%(jobs)s::pg_catalog.text[]))
INSERT INTO rescore.runner_jobs AS r (job, error, times, failing_since)
VALUES (%(job)s, pg_catalog.left(%(error)s::pg_catalog.text, 1000), %(times)s, CASE WHEN %(error)s::pg_catalog.text IS NOT NULL THEN pg_catalog.now() END)
ON CONFLICT ON CONSTRAINT runner_jobs_pkey DO UPDATE
SET at = excluded.at, error = excluded.error, times = excluded.times,
    failing_since = CASE WHEN excluded.error IS NOT NULL THEN coalesce(r.failing_since, excluded.failing_since) END
