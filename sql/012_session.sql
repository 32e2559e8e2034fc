-- Who a session of the server is, and by which process, on which machine, it is used.
-- Calls: nothing. Tables: reads pg_stat_activity.

CREATE OR REPLACE FUNCTION rescore._client(pid integer)
RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
    -- As commands of rescore call their sessions (rescore.trainer.database.own_name).
    SELECT substring(a.application_name FROM '^rescore.*, (process [0-9]+ on .+)$') FROM pg_stat_activity AS a WHERE a.pid = _client.pid
$$;
COMMENT ON FUNCTION rescore._client(integer) IS
    'The process, and its machine, of the command of rescore that uses a session, as it says itself; NULL where it does not.';

CREATE OR REPLACE FUNCTION rescore._session(pid integer)
RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
    -- From where and since when others are connected is not for everybody.
    SELECT format('server process %s (%s) as %s', a.pid, coalesce(nullif(a.application_name, ''), 'a session'), a.usename)
           || coalesce(' from ' || a.client_addr, '') || coalesce(' since ' || a.backend_start, '')
    FROM pg_stat_activity AS a WHERE a.pid = _session.pid
$$;
COMMENT ON FUNCTION rescore._session(integer) IS
    'The server process of a session, what it calls itself, its role, and, for who may see that, its address and since when it is there; NULL when it is gone.';
