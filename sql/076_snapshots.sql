-- Partitions of rescore.snapshots: one a month, in UTC, made ahead of need and dropped by retention.
-- Calls: nothing. Tables: creates, fills and drops partitions of rescore.snapshots.

CREATE OR REPLACE FUNCTION rescore._snapshot_partition(moment timestamptz)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    first timestamptz := date_trunc('month', moment, 'UTC');
    name text := format('snapshots_%s', to_char(first AT TIME ZONE 'UTC', 'YYYY_MM'));
BEGIN
    IF NOT isfinite(moment) OR to_regclass(format('rescore.%I', name)) IS NOT NULL THEN
        RETURN name;
    END IF;
    -- Two who find it missing: the second waits here and sees it.
    PERFORM pg_advisory_xact_lock(hashtextextended('rescore.snapshots', 0));
    IF to_regclass(format('rescore.%I', name)) IS NOT NULL THEN
        RETURN name;
    END IF;
    EXECUTE format('CREATE TABLE rescore.%I (LIKE rescore.snapshots INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS)', name);
    EXECUTE format('COMMENT ON TABLE rescore.%I IS %L', name, format('Snapshots of %s (UTC)', to_char(first AT TIME ZONE 'UTC', 'YYYY-MM')));
    -- Rows that came before their partition; nobody adds another until this is committed.
    LOCK TABLE rescore.snapshots_rest IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('WITH gone AS (DELETE FROM rescore.snapshots_rest AS r WHERE r.taken_at >= $1 AND r.taken_at < $2 RETURNING *)
                    INSERT INTO rescore.%I SELECT * FROM gone', name) USING first, (first AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    EXECUTE format('ALTER TABLE rescore.snapshots ATTACH PARTITION rescore.%I FOR VALUES FROM (%L) TO (%L)',
                   name, first, (first AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
    RETURN name;
END
$$;
COMMENT ON FUNCTION rescore._snapshot_partition(timestamptz) IS
    'The partition of rescore.snapshots for a moment, made when it is not there; its rows are moved out of the default one.';
