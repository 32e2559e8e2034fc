-- Which server this is, and how its transactions are numbered. A dump carries numbers to a server that counts
-- by itself, and is perhaps not as far: a label resolved there would then seem to have been learnt long ago. So
-- the numbers by which learning goes are counted on from the highest that is there.
-- Calls: pg_control_system. Tables: reads rescore.snapshots, rescore.deployments, rescore.learning; writes
-- rescore.cluster.

CREATE OR REPLACE FUNCTION rescore._wrote_itself()
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce((SELECT c.xmin::text::bigint = c.xid::text::bigint & 4294967295 FROM rescore.cluster AS c), false) $$;
COMMENT ON FUNCTION rescore._wrote_itself() IS
    'Whether these are the files that this database was installed in, or a physical copy of them (standby, pg_upgrade): the row that says so was written by the transaction it names.';

CREATE OR REPLACE FUNCTION rescore._system()
RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- pg_upgrade makes a server of another identifier that numbers transactions on.
    IF rescore._wrote_itself() THEN
        RETURN (SELECT c.system FROM rescore.cluster AS c);
    ELSIF has_function_privilege('pg_control_system()', 'EXECUTE') THEN
        RETURN (SELECT s.system_identifier FROM pg_control_system() AS s);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION rescore._system() IS
    'Identifier of this server, the same on its standbys and after pg_upgrade; NULL where it may not be read.';

CREATE OR REPLACE FUNCTION rescore._count_on(earlier bigint)
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO rescore.cluster AS c (system, earlier) VALUES (rescore._system(), _count_on.earlier)
    ON CONFLICT (cluster_id) DO UPDATE
        SET earlier = greatest(c.earlier, excluded.earlier), system = excluded.system, xid = excluded.xid, moved_at = now();
    -- A savepoint's writes have a number of their own, which only the row tells: this writes it under the same one.
    UPDATE rescore.cluster AS c SET xid = ((c.xid::text::bigint & ~4294967295) | c.xmin::text::bigint)::text::xid8;
$$;
COMMENT ON FUNCTION rescore._count_on(bigint) IS
    'Notes that this is the server, and that its transactions are counted on from this number at least.';

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
                    SELECT j.resolved::text::bigint FROM rescore.judgements AS j
                    UNION ALL
                    SELECT r.xid::text::bigint FROM rescore.relabelled AS r
                    UNION ALL
                    SELECT (SELECT s.resolved FROM rescore.snapshots AS s WHERE s.model = d.model AND s.resolved IS NOT NULL
                            ORDER BY s.resolved DESC LIMIT 1)::text::bigint FROM rescore.deployments AS d) AS n) AS highest
        INTO counted;
        EXIT WHEN counted.highest < counted.earlier + counted.next OR counted.highest IS NULL;
        -- Whoever finds the same at once waits here, and then finds it done.
        PERFORM rescore._count_on(counted.highest);
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

DO $do$
BEGIN
    IF NOT rescore._wrote_itself() THEN
        PERFORM rescore._count_on(0);
    END IF;
END
$do$;
