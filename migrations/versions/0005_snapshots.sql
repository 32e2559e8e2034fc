-- Revision 0005: snapshots, which are training examples, log of predictions and sample of drift in one.
-- Calls: nothing. Tables: creates rescore.snapshots, its default partition rescore.snapshots_rest, and
-- rescore.snapshot_rounds. Frozen once released: a change is a new revision.

CREATE TABLE rescore.snapshots (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    model TEXT NOT NULL,
    key TEXT NOT NULL,
    taken_at TIMESTAMP WITH TIME ZONE NOT NULL,
    version INTEGER NOT NULL,
    score DOUBLE PRECISION,
    design DOUBLE PRECISION[] NOT NULL,
    others JSONB,
    serving TEXT DEFAULT 'champion' NOT NULL,
    holdout BOOLEAN,
    treated_at TIMESTAMP WITH TIME ZONE,
    label DOUBLE PRECISION,
    early BOOLEAN DEFAULT false NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    resolved XID8,
    resolved_at TIMESTAMP WITH TIME ZONE,
    censored BOOLEAN DEFAULT false NOT NULL,
    corrected_at TIMESTAMP WITH TIME ZONE,
    label_first DOUBLE PRECISION,
    quarantined TEXT,
    PRIMARY KEY (id, taken_at),
    CONSTRAINT snapshots_serving_check CHECK (serving IN ('champion', 'challenger')),
    CONSTRAINT snapshots_open_check CHECK (resolved IS NOT NULL OR (label IS NULL AND NOT censored))
) PARTITION BY RANGE (taken_at);

CREATE UNIQUE INDEX snapshots_moment_idx ON rescore.snapshots (model, taken_at, key);
CREATE INDEX snapshots_due_idx ON rescore.snapshots (model, due_at) WHERE resolved IS NULL;
CREATE INDEX snapshots_resolved_idx ON rescore.snapshots (model, resolved, id) WHERE resolved IS NOT NULL;
CREATE INDEX snapshots_key_idx ON rescore.snapshots (model, key);

COMMENT ON TABLE rescore.snapshots IS 'One row per logged score, with what it was computed from and, later, what came of it';
COMMENT ON COLUMN rescore.snapshots.id IS 'Order in which snapshots were taken';
COMMENT ON COLUMN rescore.snapshots.model IS 'Model that scored';
COMMENT ON COLUMN rescore.snapshots.key IS 'Key of the profile row, as text';
COMMENT ON COLUMN rescore.snapshots.taken_at IS 'Moment of the snapshot, by the profile''s clock; the label looks at what follows';
COMMENT ON COLUMN rescore.snapshots.version IS 'Version whose score was served; its contract names the columns of the design row';
COMMENT ON COLUMN rescore.snapshots.score IS 'Score that was served';
COMMENT ON COLUMN rescore.snapshots.design IS 'Design row that was scored, in the order of the contract';
COMMENT ON COLUMN rescore.snapshots.others IS 'Scores of versions that did not serve this row, by number; null when there were none';
COMMENT ON COLUMN rescore.snapshots.serving IS 'Whether the version served as champion or as challenger';
COMMENT ON COLUMN rescore.snapshots.holdout IS 'Whether the customer is kept untreated; null when the profile has no interventions';
COMMENT ON COLUMN rescore.snapshots.treated_at IS 'First treatment after the moment and within the horizon, as known when it was resolved';
COMMENT ON COLUMN rescore.snapshots.label IS 'What came of it; null while open and when censored';
COMMENT ON COLUMN rescore.snapshots.early IS 'Open, and already known to be positive: shown apart, never learnt';
COMMENT ON COLUMN rescore.snapshots.due_at IS 'End of the horizon and of settling: before it nothing resolves';
COMMENT ON COLUMN rescore.snapshots.resolved IS 'Transaction that resolved it, which never changes; null while open';
COMMENT ON COLUMN rescore.snapshots.resolved_at IS 'Moment it was resolved, by the profile''s clock';
COMMENT ON COLUMN rescore.snapshots.censored IS 'Resolved without a label: the outcome cannot be known';
COMMENT ON COLUMN rescore.snapshots.corrected_at IS 'Moment of the last correction of a label that had been resolved, by the profile''s clock';
COMMENT ON COLUMN rescore.snapshots.label_first IS 'Label before it was first corrected; null when it never was, or was censored';
COMMENT ON COLUMN rescore.snapshots.quarantined IS 'Why learning must not use it; null when it may';
COMMENT ON SEQUENCE rescore.snapshots_id_seq IS 'Order in which snapshots are taken';

CREATE TABLE rescore.snapshots_rest (LIKE rescore.snapshots INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS);
ALTER TABLE rescore.snapshots ATTACH PARTITION rescore.snapshots_rest DEFAULT;
COMMENT ON TABLE rescore.snapshots_rest IS 'Snapshots of moments that no partition was made for; moved to one when it is';

CREATE TABLE rescore.snapshot_rounds (
    profile TEXT NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE,
    position TEXT,
    taken BIGINT DEFAULT 0 NOT NULL,
    next_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    checked_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (profile)
);

COMMENT ON TABLE rescore.snapshot_rounds IS 'One row per profile: how far its round of snapshots has come, and when the next is due';
COMMENT ON COLUMN rescore.snapshot_rounds.profile IS 'Profile whose rows are logged';
COMMENT ON COLUMN rescore.snapshot_rounds.began_at IS 'When the round began, by the profile''s clock';
COMMENT ON COLUMN rescore.snapshot_rounds.position IS 'Last key done, as text; null before the first batch';
COMMENT ON COLUMN rescore.snapshot_rounds.taken IS 'Snapshots taken in this round';
COMMENT ON COLUMN rescore.snapshot_rounds.next_at IS 'When the next round is due, by the profile''s clock';
COMMENT ON COLUMN rescore.snapshot_rounds.finished_at IS 'When the round came to its end, by the profile''s clock; null while it has not';
COMMENT ON COLUMN rescore.snapshot_rounds.checked_at IS 'When early outcomes and corrections were last looked for, by the profile''s clock';
