-- Reading the outbox: named consumers, each at its own place, each row at least once, in order.
-- Calls: 010_errors, 017_cluster. Tables: reads and prunes rescore.outbox; writes rescore.outbox_consumers.
--
-- Generated triggers write rescore.outbox, and a row with a smaller id may commit later. A consumer
-- therefore reads by snapshots: all rows visible in "reading" that were not in "seen", in order of id,
-- then all that have become visible since. What commits late comes in a later snapshot, never too late,
-- and of one customer's rows, whose writers wait for each other, the first written always comes first.

CREATE OR REPLACE FUNCTION rescore._outbox_snapshot()
RETURNS pg_snapshot
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- A transaction's own xid is not among those running in its snapshot, though none below its xmin either; what it
    -- writes after reading must not count as seen.
    SELECT CASE WHEN c.own < pg_snapshot_xmax(c.snapshot)
                THEN format('%s:%s:%s', pg_snapshot_xmin(c.snapshot), pg_snapshot_xmax(c.snapshot),
                            (SELECT string_agg(x.xid::text, ',' ORDER BY x.xid)
                             FROM (SELECT pg_snapshot_xip(c.snapshot) UNION SELECT c.own) AS x (xid)))::pg_snapshot
                ELSE c.snapshot END
    FROM (SELECT pg_current_snapshot() AS snapshot, pg_current_xact_id_if_assigned() AS own) AS c
$$;
COMMENT ON FUNCTION rescore._outbox_snapshot() IS
    'The current snapshot, in which the current transaction itself is still running.';

-- Inlined, hence without SET. md5, not hash functions: these may change with a version of PostgreSQL,
-- and the shares with them.
CREATE OR REPLACE FUNCTION rescore._outbox_is_new(xid xid8, key text, seen pg_snapshot, share integer, shares integer)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN NOT pg_catalog.pg_visible_in_snapshot(xid, seen)
       AND (shares = 1 OR ('x' || pg_catalog.substr(pg_catalog.md5(key), 1, 7))::bit(28)::integer % shares = share);

COMMENT ON FUNCTION rescore._outbox_is_new(xid8, text, pg_snapshot, integer, integer) IS
    'Whether a row of the outbox is of this share of the customers, and not visible in the snapshot.';

CREATE OR REPLACE FUNCTION rescore._outbox_is_here(source oid, system bigint)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT source = 'rescore.outbox'::regclass AND system IS NOT DISTINCT FROM rescore._system() $$;
COMMENT ON FUNCTION rescore._outbox_is_here(oid, bigint) IS
    'Whether a place in the outbox is of this database; false after a restore from a dump, even where the table has the same number.';

CREATE OR REPLACE FUNCTION rescore._outbox_known(consumer text)
RETURNS rescore.outbox_consumers
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found rescore.outbox_consumers;
BEGIN
    -- Locked: a second reader of the same consumer waits here until the first has ended its transaction.
    SELECT * INTO found FROM rescore.outbox_consumers AS c WHERE c.consumer = _outbox_known.consumer FOR UPDATE;
    IF found.consumer IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS022', MESSAGE = format('unknown consumer %s', coalesce(quote_ident(consumer), 'NULL')),
            DETAIL = format('Known consumers: %s.', rescore._listed((SELECT array_agg(c.consumer ORDER BY c.consumer) FROM rescore.outbox_consumers AS c))),
            HINT = 'Name one of these, or register it: rescore.outbox_register, or `rescore outbox read --start now`.';
    ELSIF NOT rescore._outbox_is_here(found.source, found.system) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS023', MESSAGE = format('the place of consumer %s is of another database', quote_ident(consumer)),
            DETAIL = 'It was restored from a dump; transactions are numbered anew here.',
            HINT = 'Drop the consumer and register it again, at the beginning to be told everything once more.';
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION rescore._outbox_known(text) IS
    'A consumer''s row, locked until the transaction ends; RS022 when there is none, RS023 when it is of another database.';

CREATE OR REPLACE FUNCTION rescore.outbox_register(consumer text, start text DEFAULT 'now', share integer DEFAULT 0, shares integer DEFAULT 1)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF coalesce(consumer, '') !~ '^[[:graph:]]{1,63}$' OR octet_length(consumer) > 63 THEN
        RAISE EXCEPTION USING ERRCODE = 'RS020', MESSAGE = format('%L is no name for a consumer', consumer),
            DETAIL = 'At most 63 bytes, all printable, no spaces.', HINT = 'Choose another name.';
    ELSIF start IS DISTINCT FROM 'now' AND start IS DISTINCT FROM 'beginning' THEN
        RAISE EXCEPTION USING ERRCODE = 'RS020', MESSAGE = format('a consumer cannot start at %L', start),
            DETAIL = 'now: rows to come; beginning: all rows kept.', HINT = 'Name one of the two.';
    ELSIF (share >= 0 AND share < shares) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'RS020', MESSAGE = format('there is no share %s of %s', coalesce(share::text, 'NULL'), coalesce(shares::text, 'NULL')),
            DETAIL = 'Shares are numbered from 0.', HINT = 'Pass share => 0, shares => 1 for all customers.';
    END IF;
    -- Rows of a dump may carry numbers of transactions that are still to come here.
    UPDATE rescore.outbox AS o SET xid = '1'
    WHERE o.xid >= pg_snapshot_xmax(pg_current_snapshot()) AND o.xid <> pg_current_xact_id();
    INSERT INTO rescore.outbox_consumers (consumer, seen, source, system, share, shares)
    VALUES (consumer, CASE start WHEN 'now' THEN rescore._outbox_snapshot() ELSE '1:1:' END,
            'rescore.outbox'::regclass, rescore._system(), share, shares)
    ON CONFLICT ON CONSTRAINT outbox_consumers_pkey DO NOTHING;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION rescore.outbox_register(text, text, integer, integer) IS
    'Registers a consumer of the outbox, which starts with the rows to come (now) or with all rows kept (beginning), of all customers or of one share of them; false when it was registered before.';

CREATE OR REPLACE FUNCTION rescore._outbox_advance(reader rescore.outbox_consumers)
RETURNS rescore.outbox_consumers
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seen_next pg_snapshot := coalesce(reader.reading, reader.seen);
    read_next pg_snapshot := rescore._outbox_snapshot();
    lowest bigint;
BEGIN
    -- By the index on xid: rows that the older snapshot does not show are of its oldest transaction or later.
    SELECT min(n.id) INTO lowest FROM (
        SELECT o.id FROM rescore.outbox AS o
        WHERE o.xid >= pg_snapshot_xmin(seen_next) AND pg_visible_in_snapshot(o.xid, read_next)
          AND rescore._outbox_is_new(o.xid, o.key, seen_next, reader.share, reader.shares) OFFSET 0) AS n;
    IF lowest IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE rescore.outbox_consumers AS c
    SET seen = seen_next, reading = read_next, position = lowest - 1, sent = lowest - 1
    WHERE c.consumer = reader.consumer RETURNING * INTO reader;
    RETURN reader;
END
$$;
COMMENT ON FUNCTION rescore._outbox_advance(rescore.outbox_consumers) IS
    'Lets a consumer that has acknowledged everything read what has become visible since; NULL when there is nothing.';

CREATE OR REPLACE FUNCTION rescore.outbox_read(consumer text, batch integer DEFAULT 1000)
RETURNS SETOF rescore.outbox
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reader rescore.outbox_consumers := rescore._outbox_known(consumer);
    found rescore.outbox;
BEGIN
    IF (batch > 0) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'RS020', MESSAGE = format('a batch of %s rows', coalesce(batch::text, 'NULL')),
            DETAIL = 'At least 1.', HINT = 'Leave it out for 1000.';
    END IF;
    FOR attempt IN 1 .. 2 LOOP
        FOR found IN
            SELECT o.* FROM rescore.outbox AS o
            WHERE o.id > reader.position AND pg_visible_in_snapshot(o.xid, reader.reading)
              AND rescore._outbox_is_new(o.xid, o.key, reader.seen, reader.share, reader.shares)
            ORDER BY o.id LIMIT batch
        LOOP
            RETURN NEXT found;
        END LOOP;
        EXIT WHEN found.id IS NOT NULL OR attempt = 2;
        reader := rescore._outbox_advance(reader);
        EXIT WHEN reader.consumer IS NULL;
    END LOOP;
    UPDATE rescore.outbox_consumers AS c
    SET read_at = clock_timestamp(), sent = greatest(c.sent, found.id) WHERE c.consumer = outbox_read.consumer;
END
$$;
COMMENT ON FUNCTION rescore.outbox_read(text, integer) IS
    'The next rows of the outbox for a consumer, in order; the same again until rescore.outbox_ack. A second reader of the same consumer waits for the first one''s transaction.';

CREATE OR REPLACE FUNCTION rescore.outbox_ack(consumer text, "position" bigint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reader rescore.outbox_consumers := rescore._outbox_known(consumer);
    written xid8 := (SELECT o.xid FROM rescore.outbox AS o WHERE o.id = outbox_ack."position");
BEGIN
    IF outbox_ack."position" IS NULL OR (outbox_ack."position" > reader.sent AND pg_visible_in_snapshot(written, reader.seen) IS NOT TRUE) THEN
        RAISE EXCEPTION USING ERRCODE = 'RS020',
            MESSAGE = format('row %s was not handed to consumer %s', coalesce(outbox_ack."position"::text, 'NULL'), quote_ident(consumer)),
            DETAIL = format('The last one was row %s.', reader.sent),
            HINT = 'Pass the id of the last row of a batch that rescore.outbox_read returned.';
    -- Acknowledged before, by a reader that was thought dead: what is being read now may have greater ids.
    ELSIF outbox_ack."position" <= reader.position OR pg_visible_in_snapshot(written, reader.seen) IS NOT FALSE THEN
        RETURN false;
    END IF;
    UPDATE rescore.outbox_consumers AS c SET position = outbox_ack."position", acknowledged_at = clock_timestamp()
    WHERE c.consumer = outbox_ack.consumer;
    RETURN true;
END
$$;
COMMENT ON FUNCTION rescore.outbox_ack(text, bigint) IS
    'Acknowledges the rows of a consumer''s batch up to this id, which then do not come again; false when they had been acknowledged before.';

CREATE OR REPLACE FUNCTION rescore.outbox_drop(consumer text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM rescore.outbox_consumers AS c WHERE c.consumer = outbox_drop.consumer;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION rescore.outbox_drop(text) IS
    'Forgets a consumer of the outbox and its place; false when there was none.';

CREATE OR REPLACE FUNCTION rescore.outbox_prune(keep interval, force boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pruned bigint;
    lost boolean := EXISTS (SELECT FROM rescore.outbox_consumers AS c WHERE NOT rescore._outbox_is_here(c.source, c.system));
BEGIN
    IF (keep >= interval '0') IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'RS020', MESSAGE = format('rows cannot be kept for %s', coalesce(keep::text, 'NULL')),
            DETAIL = 'A length of time, not negative.', HINT = 'Pass one such as ''7 days''.';
    END IF;
    DELETE FROM rescore.outbox AS o
    WHERE o.created_at < now() - keep
      AND (force OR NOT lost AND NOT EXISTS (
          SELECT FROM rescore.outbox_consumers AS c
          WHERE rescore._outbox_is_new(o.xid, o.key, c.seen, c.share, c.shares)
            AND (o.id <= c.position AND pg_visible_in_snapshot(o.xid, c.reading)) IS NOT TRUE));
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END
$$;
COMMENT ON FUNCTION rescore.outbox_prune(interval, boolean) IS
    'Deletes rows of the outbox older than this that every consumer has acknowledged, or all of that age when forced; returns how many.';

CREATE OR REPLACE VIEW rescore.outbox_lag AS
SELECT c.consumer, w.pending, w.oldest, c.read_at, c.acknowledged_at, c.registered_at, c.share, c.shares,
       rescore._outbox_is_here(c.source, c.system) AS here
FROM rescore.outbox_consumers AS c
CROSS JOIN LATERAL (
    SELECT pg_catalog.count(*) AS pending, pg_catalog.min(o.created_at) AS oldest
    FROM rescore.outbox AS o
    WHERE o.xid >= pg_catalog.pg_snapshot_xmin(c.seen) AND rescore._outbox_is_new(o.xid, o.key, c.seen, c.share, c.shares)
      AND (o.id <= c.position AND pg_catalog.pg_visible_in_snapshot(o.xid, c.reading)) IS NOT TRUE) AS w;
COMMENT ON VIEW rescore.outbox_lag IS 'How far each consumer of the outbox is behind.';
COMMENT ON COLUMN rescore.outbox_lag.consumer IS 'Name of the consumer';
COMMENT ON COLUMN rescore.outbox_lag.pending IS 'Rows not acknowledged';
COMMENT ON COLUMN rescore.outbox_lag.oldest IS 'When the oldest of them was written; null when there is none';
COMMENT ON COLUMN rescore.outbox_lag.read_at IS 'When it last read';
COMMENT ON COLUMN rescore.outbox_lag.acknowledged_at IS 'When it last acknowledged';
COMMENT ON COLUMN rescore.outbox_lag.registered_at IS 'When it was registered';
COMMENT ON COLUMN rescore.outbox_lag.share IS 'Which share of the customers it reads, from 0';
COMMENT ON COLUMN rescore.outbox_lag.shares IS 'How many shares the customers are dealt into';
COMMENT ON COLUMN rescore.outbox_lag.here IS 'Whether its place is of this database; false after a restore from a dump';
