-- Creates or replaces a job in the database that has pg_cron. Calls cron.schedule; writes cron.job.
SELECT cron.schedule(%(name)s::text, %(every)s::text, %(command)s::text)
