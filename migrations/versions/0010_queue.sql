-- Revision 0010: what profiles still have to count, and how far they have come.
-- Calls: nothing. Tables: creates rescore.queue, rescore.folds.
-- Frozen once released: a change is a new revision.

CREATE TABLE rescore.queue (
    profile TEXT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    key TEXT,
    came BOOLEAN DEFAULT true NOT NULL,
    at_commit BOOLEAN DEFAULT false NOT NULL,
    position TEXT,
    xid XID8 DEFAULT pg_current_xact_id() NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (profile, id)
);

COMMENT ON TABLE rescore.queue IS 'One row per customer whose events changed and are still to be counted: written with the events, taken away by the fold that counts them';
COMMENT ON COLUMN rescore.queue.profile IS 'Profile';
COMMENT ON COLUMN rescore.queue.id IS 'Order in which rows are folded, about that in which they came';
COMMENT ON COLUMN rescore.queue.key IS 'Key of the customer, as text; null for everybody';
COMMENT ON COLUMN rescore.queue.came IS 'Whether events came: only then is a missing customer created';
COMMENT ON COLUMN rescore.queue.at_commit IS 'Whether the transaction that wrote it folds it when it commits: the queue was full';
COMMENT ON COLUMN rescore.queue.position IS 'Of a row for everybody: last key done; null before the first';
COMMENT ON COLUMN rescore.queue.xid IS 'Transaction that wrote it';
COMMENT ON COLUMN rescore.queue.created_at IS 'When that transaction began';
COMMENT ON SEQUENCE rescore.queue_id_seq IS 'Numbers of the rows of rescore.queue';

CREATE INDEX queue_key_idx ON rescore.queue (profile, key);

CREATE TABLE rescore.folds (
    profile TEXT NOT NULL,
    floor BIGINT DEFAULT 0 NOT NULL,
    folded BIGINT DEFAULT 0 NOT NULL,
    folded_at TIMESTAMP WITH TIME ZONE,
    paused_at TIMESTAMP WITH TIME ZONE,
    paused_by TEXT,
    reason TEXT,
    PRIMARY KEY (profile)
);

COMMENT ON TABLE rescore.folds IS 'One row per profile whose queue was ever folded, or which was ever paused';
COMMENT ON COLUMN rescore.folds.profile IS 'Profile';
COMMENT ON COLUMN rescore.folds.floor IS 'Rows of the queue up to this id are folded, but for those of transactions that were open then';
COMMENT ON COLUMN rescore.folds.folded IS 'Rows folded so far';
COMMENT ON COLUMN rescore.folds.folded_at IS 'When rows were last folded';
COMMENT ON COLUMN rescore.folds.paused_at IS 'Since when no trigger counts anything; null while they do';
COMMENT ON COLUMN rescore.folds.paused_by IS 'Who paused it';
COMMENT ON COLUMN rescore.folds.reason IS 'Why';
