-- Removes a job of this role by its name. Calls cron.unschedule; writes cron.job.
SELECT cron.unschedule(j.jobid) FROM cron.job AS j WHERE j.jobname = %s::pg_catalog.name AND j.username = current_user
