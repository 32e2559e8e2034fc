-- Who is the runner of the database; nothing when it has just ended. Calls rescore._runner_pid; reads pg_stat_activity.
SELECT pg_catalog.format('process %s, %s as %s from %s since %s', a.pid, coalesce(nullif(a.application_name, ''), 'a session'),
                         a.usename, coalesce(a.client_addr::text, 'this machine'), coalesce(a.backend_start::text, 'some time'))
FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = rescore._runner_pid()
