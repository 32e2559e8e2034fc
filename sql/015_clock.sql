-- The clock of profiles with `clock: session`: what replays set instead of waiting.
-- Called by generated triggers and predict functions. Calls nothing; touches no table.

CREATE OR REPLACE FUNCTION rescore.clock()
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN COALESCE(NULLIF(pg_catalog.current_setting('rescore.clock', true), '')::timestamptz, pg_catalog.now());

COMMENT ON FUNCTION rescore.clock() IS
    'The moment scores are for in profiles with `clock: session`: the setting rescore.clock (a timestamp with zone) where the session has set it, now() otherwise.';

CREATE OR REPLACE FUNCTION rescore._finite_clock(clock timestamptz)
RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT isfinite(clock) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS020', MESSAGE = format('rescore.clock is %s, which is no moment', clock),
            DETAIL = 'Counters, scores, sweeps and snapshots of profiles with `clock: session` are of that moment.',
            HINT = 'SET rescore.clock to a finite timestamp with zone, or RESET it.';
    END IF;
    RETURN clock;
END
$$;
COMMENT ON FUNCTION rescore._finite_clock(timestamptz) IS
    'The clock as it was read; RS020 when it is infinite: for what is written. What is only read takes it as missing.';
