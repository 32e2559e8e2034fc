-- Sessions of a database that wait for a lock at this moment. Reads pg_stat_activity.
SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'
