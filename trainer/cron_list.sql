-- The jobs of rescore that pg_cron runs in a database, and how each last went. Reads cron.job, cron.job_run_details.
SELECT j.jobname::text AS job, j.schedule, j.command, j.active, r.status, r.start_time AS started_at, r.return_message AS message
FROM cron.job AS j
LEFT JOIN LATERAL (SELECT d.status, d.start_time, d.return_message FROM cron.job_run_details AS d
                   WHERE d.jobid = j.jobid ORDER BY d.runid DESC LIMIT 1) AS r ON true
WHERE j.database = %s AND j.command ~ '^CALL rescore[.](sweep|fold|log_snapshots)[(]'
ORDER BY j.jobname
