-- Creates or replaces a job in another database. Calls cron.schedule_in_database; writes cron.job.
SELECT cron.schedule_in_database(%(name)s::text, %(every)s::text, %(command)s::text, %(database)s::text)
