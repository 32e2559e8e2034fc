-- Revision 0013: the hash of a snapshot's customer, kept so that learning need not compute it.
-- Calls: nothing. Tables: alters rescore.snapshots and with it every partition.
-- Frozen once released: a change is a new revision.

ALTER TABLE rescore.snapshots ADD COLUMN hash BYTEA;

DO $do$
DECLARE
    part oid;
BEGIN
    -- A partition has comments of its own.
    FOR part IN SELECT 'rescore.snapshots'::regclass::oid UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = 'rescore.snapshots'::regclass LOOP
        EXECUTE format('COMMENT ON COLUMN %s.hash IS %L', part::regclass, 'First 8 bytes of the SHA-256 of "learn MODEL:KEY", set when it is resolved: by it customers are tested on; null: computed when read');
    END LOOP;
END
$do$;
