-- Who is the runner of the database, and which process of which machine that is, where it says so; nothing when it has
-- just ended. Calls rescore._session, rescore._client, rescore._runner_pid.
SELECT rescore._session(p.pid) AS holder, rescore._client(p.pid) AS client
FROM (SELECT rescore._runner_pid() AS pid) AS p
