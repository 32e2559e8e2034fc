-- Numbers of transactions, and servers. A dump carries them to a server that counts by itself, and is
-- perhaps not as far: a label resolved there would then seem to have been learnt long ago. So the numbers
-- by which learning goes are counted on from the highest that is there.
-- Calls: nothing. Tables: reads rescore.snapshots, rescore.deployments, rescore.learning; writes rescore.cluster.

CREATE OR REPLACE FUNCTION rescore._earlier()
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    counted record;
BEGIN
    LOOP
        -- One snapshot of all: what is seen of this server's own is below its next number.
        SELECT coalesce((SELECT c.earlier FROM rescore.cluster AS c), 0) AS earlier,
               greatest(pg_snapshot_xmax(pg_current_snapshot())::text::bigint, pg_current_xact_id_if_assigned()::text::bigint + 1) AS next,
               (SELECT max(n.highest) FROM (
                    SELECT l.watermark_xid::text::bigint AS highest FROM rescore.learning AS l
                    UNION ALL
                    SELECT (SELECT s.resolved FROM rescore.snapshots AS s WHERE s.model = d.model AND s.resolved IS NOT NULL
                            ORDER BY s.resolved DESC LIMIT 1)::text::bigint FROM rescore.deployments AS d) AS n) AS highest
        INTO counted;
        EXIT WHEN counted.highest < counted.earlier + counted.next OR counted.highest IS NULL;
        -- Whoever finds the same at once waits here, and then finds it done.
        INSERT INTO rescore.cluster AS c (earlier) VALUES (counted.highest)
        ON CONFLICT (cluster_id) DO UPDATE SET earlier = greatest(c.earlier, excluded.earlier), moved_at = now();
    END LOOP;
    RETURN counted.earlier;
END
$$;
COMMENT ON FUNCTION rescore._earlier() IS
    'What is added to this server''s numbers of transactions to go on from those of the servers a dump came from; 0 where there was none. Finds out when that has come to be another server.';

CREATE OR REPLACE FUNCTION rescore._transaction()
RETURNS xid8
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT (pg_current_xact_id()::text::bigint + rescore._earlier())::text::xid8 $$;
COMMENT ON FUNCTION rescore._transaction() IS
    'Number of this transaction, counted on from those of the servers before.';

CREATE OR REPLACE FUNCTION rescore._ended()
RETURNS xid8
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + rescore._earlier())::text::xid8 $$;
COMMENT ON FUNCTION rescore._ended() IS
    'All transactions numbered below this, as rescore._transaction does, have ended for everybody.';

CREATE OR REPLACE FUNCTION rescore._system()
RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF has_function_privilege('pg_control_system()', 'EXECUTE') THEN
        RETURN (SELECT s.system_identifier FROM pg_control_system() AS s);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION rescore._system() IS
    'Identifier of this server, the same on its standbys; NULL where it may not be read.';
