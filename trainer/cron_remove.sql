-- Removes jobs of this role by their names. Calls cron.unschedule; writes cron.job.
SELECT cron.unschedule(j.jobid) FROM cron.job AS j WHERE j.jobname = ANY(%s::pg_catalog.name[]) AND j.username = current_user
