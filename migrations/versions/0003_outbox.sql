-- Revision 0003: the outbox, and who reads it.
-- Calls: nothing. Tables: creates rescore.outbox and rescore.outbox_consumers.
-- Frozen once released: a change is a new revision.

CREATE TABLE rescore.outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    xid XID8 DEFAULT pg_current_xact_id() NOT NULL,
    profile TEXT NOT NULL,
    score TEXT NOT NULL,
    key TEXT NOT NULL,
    old DOUBLE PRECISION,
    new DOUBLE PRECISION,
    old_band TEXT,
    new_band TEXT,
    model TEXT NOT NULL,
    version INTEGER,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX outbox_xid_idx ON rescore.outbox (xid);

COMMENT ON TABLE rescore.outbox IS 'One row per score that moved, written with it and read in order by named consumers';
COMMENT ON COLUMN rescore.outbox.id IS 'Position; of two rows of one customer the later has the greater';
COMMENT ON COLUMN rescore.outbox.xid IS 'Transaction that wrote it';
COMMENT ON COLUMN rescore.outbox.profile IS 'Profile the score belongs to';
COMMENT ON COLUMN rescore.outbox.score IS 'Column of the profile table';
COMMENT ON COLUMN rescore.outbox.key IS 'Key of the profile row, as text';
COMMENT ON COLUMN rescore.outbox.old IS 'Score last reported; null when none was';
COMMENT ON COLUMN rescore.outbox.new IS 'Score now; null when the row is gone or no longer scored';
COMMENT ON COLUMN rescore.outbox.old_band IS 'Band of the score last reported; null when it had none';
COMMENT ON COLUMN rescore.outbox.new_band IS 'Band of the score now; null when it has none';
COMMENT ON COLUMN rescore.outbox.model IS 'Model that scored';
COMMENT ON COLUMN rescore.outbox.version IS 'Version that scored; null when the score is';
COMMENT ON COLUMN rescore.outbox.at IS 'Moment the score is for';
COMMENT ON COLUMN rescore.outbox.created_at IS 'When the transaction that wrote it began';
COMMENT ON SEQUENCE rescore.outbox_id_seq IS 'Order in which rows of the outbox are written';

CREATE TABLE rescore.outbox_consumers (
    consumer TEXT NOT NULL,
    seen PG_SNAPSHOT NOT NULL,
    reading PG_SNAPSHOT,
    position BIGINT DEFAULT 0 NOT NULL,
    sent BIGINT DEFAULT 0 NOT NULL,
    share INTEGER DEFAULT 0 NOT NULL,
    shares INTEGER DEFAULT 1 NOT NULL,
    source OID NOT NULL,
    registered_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    registered_by TEXT DEFAULT SESSION_USER NOT NULL,
    read_at TIMESTAMP WITH TIME ZONE,
    acknowledged_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (consumer),
    CONSTRAINT outbox_consumers_share_check CHECK (share >= 0 AND share < shares)
);

COMMENT ON TABLE rescore.outbox_consumers IS 'One row per reader of the outbox, and how far it has come';
COMMENT ON COLUMN rescore.outbox_consumers.consumer IS 'Name of the consumer';
COMMENT ON COLUMN rescore.outbox_consumers.seen IS 'All rows visible in this snapshot are acknowledged';
COMMENT ON COLUMN rescore.outbox_consumers.reading IS 'Rows visible in this snapshot and not in seen are being read, by id; null before the first';
COMMENT ON COLUMN rescore.outbox_consumers.position IS 'Of the rows being read, those up to this id are acknowledged';
COMMENT ON COLUMN rescore.outbox_consumers.sent IS 'Of the rows being read, those up to this id were handed out';
COMMENT ON COLUMN rescore.outbox_consumers.share IS 'Which share of the customers it reads, from 0';
COMMENT ON COLUMN rescore.outbox_consumers.shares IS 'How many shares the customers are dealt into';
COMMENT ON COLUMN rescore.outbox_consumers.source IS 'OID of the outbox its snapshots are of: another one after a restore from a dump';
COMMENT ON COLUMN rescore.outbox_consumers.registered_at IS 'When it was registered';
COMMENT ON COLUMN rescore.outbox_consumers.registered_by IS 'Who registered it';
COMMENT ON COLUMN rescore.outbox_consumers.read_at IS 'When it last read';
COMMENT ON COLUMN rescore.outbox_consumers.acknowledged_at IS 'When it last acknowledged';
