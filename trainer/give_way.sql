-- How long to wait for a lock: as told, but less than the server waits before it looks for deadlocks.
SELECT pg_catalog.set_config('lock_timeout', greatest(1, least(%(seconds)s::float8 * 1000,
    500 * extract(epoch FROM pg_catalog.current_setting('deadlock_timeout')::interval)))::int8::text, true)
