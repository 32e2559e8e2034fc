-- Revision 0014: how well each version served, told when the outcomes of what it scored are known.
-- Calls: nothing. Tables: creates rescore.judgements.
-- Frozen once released: a change is a new revision.

CREATE TABLE rescore.judgements (
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    period TSTZRANGE NOT NULL,
    snapshots BIGINT NOT NULL,
    open BIGINT NOT NULL,
    examples BIGINT NOT NULL,
    customers BIGINT NOT NULL,
    metric TEXT NOT NULL,
    metrics JSONB DEFAULT '{}'::jsonb NOT NULL,
    against INTEGER,
    gain JSONB DEFAULT '{}'::jsonb NOT NULL,
    verdict TEXT NOT NULL,
    resolved XID8 NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (model, version),
    CONSTRAINT judgements_verdict_check CHECK (verdict IN ('better', 'worse', 'even', 'open')),
    CONSTRAINT judgements_version_fkey FOREIGN KEY(model, version) REFERENCES rescore.models (model, version) ON DELETE CASCADE
);

COMMENT ON TABLE rescore.judgements IS 'One row per version that served: what came of its scores, beside those of the version whose place it took';
COMMENT ON COLUMN rescore.judgements.model IS 'Name of the model';
COMMENT ON COLUMN rescore.judgements.version IS 'Version that served';
COMMENT ON COLUMN rescore.judgements.period IS 'From the first to the last moment of the snapshots it scored as champion';
COMMENT ON COLUMN rescore.judgements.snapshots IS 'Snapshots it scored as champion';
COMMENT ON COLUMN rescore.judgements.open IS 'Of these, without an outcome yet';
COMMENT ON COLUMN rescore.judgements.examples IS 'Snapshots the numbers are of: resolved, neither censored, quarantined nor treated; a sample where they are many';
COMMENT ON COLUMN rescore.judgements.customers IS 'Different customers among these';
COMMENT ON COLUMN rescore.judgements.metric IS 'Metric of the gain';
COMMENT ON COLUMN rescore.judgements.metrics IS 'Each metric of its scores with its interval';
COMMENT ON COLUMN rescore.judgements.against IS 'Version whose place it took; null where there was none, or it cannot score these snapshots';
COMMENT ON COLUMN rescore.judgements.gain IS 'By how much it was better than that on the same snapshots, with its interval';
COMMENT ON COLUMN rescore.judgements.verdict IS 'better or worse where the interval says so; else even when all is resolved, open before';
COMMENT ON COLUMN rescore.judgements.resolved IS 'Transaction up to which outcomes were counted';
COMMENT ON COLUMN rescore.judgements.at IS 'When it was judged, by the profile''s clock';
