-- The clock of profiles with `clock: session`: what replays set instead of waiting.
-- Called by generated triggers and predict functions. Touches no table.

CREATE OR REPLACE FUNCTION rescore.clock()
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN COALESCE(NULLIF(pg_catalog.current_setting('rescore.clock', true), '')::timestamptz, pg_catalog.now());

COMMENT ON FUNCTION rescore.clock() IS
    'The moment scores are for in profiles with `clock: session`: the setting rescore.clock (a timestamp with zone) where the session has set it, now() otherwise.';
