-- Revision 0012: numbers of transactions that a dump brought from another server.
-- Calls: pg_control_system, where it may. Tables: creates rescore.cluster; alters and updates rescore.outbox_consumers.
-- Frozen once released: a change is a new revision.

CREATE TABLE rescore.cluster (
    cluster_id INTEGER DEFAULT 1 NOT NULL,
    system BIGINT,
    xid XID8 DEFAULT pg_current_xact_id() NOT NULL,
    earlier BIGINT DEFAULT 0 NOT NULL,
    moved_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (cluster_id),
    CONSTRAINT cluster_single_check CHECK (cluster_id = 1)
);

COMMENT ON TABLE rescore.cluster IS 'Which server this is: one row, by which a database restored from a dump knows that it is on another';
COMMENT ON COLUMN rescore.cluster.cluster_id IS 'Always 1';
COMMENT ON COLUMN rescore.cluster.system IS 'Identifier of the server that wrote the row, null where it may not be read';
COMMENT ON COLUMN rescore.cluster.xid IS 'Transaction that wrote the row: where its xmin is another, the row came from a dump';
COMMENT ON COLUMN rescore.cluster.earlier IS 'Last number of a transaction of the servers before; those of this one are added to it';
COMMENT ON COLUMN rescore.cluster.moved_at IS 'When it was found to be this server';

ALTER TABLE rescore.outbox_consumers ADD COLUMN system BIGINT;

COMMENT ON COLUMN rescore.outbox_consumers.system IS 'Identifier of the server its snapshots are of, null where it may not be read: another one after a restore from a dump';

DO $do$
BEGIN
    IF has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') THEN
        -- A place that this server has not come to is of another one.
        UPDATE rescore.outbox_consumers AS c SET system = (SELECT s.system_identifier FROM pg_catalog.pg_control_system() AS s)
        WHERE pg_snapshot_xmax(coalesce(c.reading, c.seen)) <= pg_snapshot_xmax(pg_current_snapshot());
    END IF;
END
$do$;
