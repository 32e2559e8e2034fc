-- Revision 0006: how far each model has learnt, what each round decided, and what each version knows.
-- Calls: nothing. Tables: creates rescore.learning, learn_log, lineage, learn_requests, released and drift_log;
-- an index on rescore.snapshots.
-- Frozen once released: a change is a new revision.

CREATE TABLE rescore.learning (
    model TEXT NOT NULL,
    watermark_xid XID8 DEFAULT '0'::xid8 NOT NULL,
    watermark_id BIGINT DEFAULT 0 NOT NULL,
    line INTEGER,
    champion INTEGER,
    memory JSONB DEFAULT '{}'::jsonb NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (model)
);

COMMENT ON TABLE rescore.learning IS 'One row per model that learns: where the next round goes on';
COMMENT ON COLUMN rescore.learning.model IS 'Model that learns';
COMMENT ON COLUMN rescore.learning.watermark_xid IS 'Transaction up to which examples were learnt';
COMMENT ON COLUMN rescore.learning.watermark_id IS 'Last snapshot learnt of that transaction';
COMMENT ON COLUMN rescore.learning.line IS 'Version that learning goes on from; null: the champion';
COMMENT ON COLUMN rescore.learning.champion IS 'Version that served after the last round; another one since then begins a new line';
COMMENT ON COLUMN rescore.learning.memory IS 'What learning remembers beside the version: counts, calibration, times';
COMMENT ON COLUMN rescore.learning.updated_at IS 'When a round last ended';

CREATE TABLE rescore.learn_log (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    model TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    by TEXT DEFAULT SESSION_USER NOT NULL,
    parent INTEGER,
    version INTEGER,
    examples BIGINT NOT NULL,
    positives BIGINT NOT NULL,
    skipped JSONB DEFAULT '{}'::jsonb NOT NULL,
    period TSTZRANGE,
    from_xid XID8 NOT NULL,
    from_id BIGINT NOT NULL,
    to_xid XID8 NOT NULL,
    to_id BIGINT NOT NULL,
    metrics JSONB DEFAULT '{}'::jsonb NOT NULL,
    action TEXT NOT NULL,
    reasons JSONB DEFAULT '[]'::jsonb NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT learn_log_action_check CHECK (action IN ('published', 'candidate', 'refused', 'waiting', 'nothing', 'quarantined'))
);

CREATE INDEX learn_log_model_idx ON rescore.learn_log (model, id);

COMMENT ON TABLE rescore.learn_log IS 'One row per round of learning: what came in, what was decided, and why';
COMMENT ON COLUMN rescore.learn_log.id IS 'Order of rounds';
COMMENT ON COLUMN rescore.learn_log.model IS 'Model that learnt';
COMMENT ON COLUMN rescore.learn_log.at IS 'When the round ended';
COMMENT ON COLUMN rescore.learn_log.by IS 'Who learnt';
COMMENT ON COLUMN rescore.learn_log.parent IS 'Version it went on from; null: none serves';
COMMENT ON COLUMN rescore.learn_log.version IS 'Version it made; null: none';
COMMENT ON COLUMN rescore.learn_log.examples IS 'Examples learnt';
COMMENT ON COLUMN rescore.learn_log.positives IS 'Of these, with the outcome';
COMMENT ON COLUMN rescore.learn_log.skipped IS 'Snapshots passed over, by reason';
COMMENT ON COLUMN rescore.learn_log.period IS 'From the first to the last moment of the examples learnt';
COMMENT ON COLUMN rescore.learn_log.from_xid IS 'Watermark before: transaction';
COMMENT ON COLUMN rescore.learn_log.from_id IS 'Watermark before: snapshot';
COMMENT ON COLUMN rescore.learn_log.to_xid IS 'Watermark after: transaction';
COMMENT ON COLUMN rescore.learn_log.to_id IS 'Watermark after: snapshot';
COMMENT ON COLUMN rescore.learn_log.metrics IS 'What was measured, each with its interval';
COMMENT ON COLUMN rescore.learn_log.action IS 'published, candidate, refused, waiting, nothing or quarantined';
COMMENT ON COLUMN rescore.learn_log.reasons IS 'Why, as sentences';
COMMENT ON SEQUENCE rescore.learn_log_id_seq IS 'Order of rounds';

CREATE TABLE rescore.lineage (
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    examples BIGINT NOT NULL,
    positives BIGINT NOT NULL,
    period TSTZRANGE,
    known_until TIMESTAMP WITH TIME ZONE,
    watermark_xid XID8,
    watermark_id BIGINT,
    memory JSONB DEFAULT '{}'::jsonb NOT NULL,
    reference JSONB,
    customers BIGINT,
    PRIMARY KEY (model, version),
    CONSTRAINT lineage_version_fkey FOREIGN KEY(model, version) REFERENCES rescore.models (model, version) ON DELETE CASCADE
);

COMMENT ON TABLE rescore.lineage IS 'One row per version that was trained here: from what, and what it remembers';
COMMENT ON COLUMN rescore.lineage.model IS 'Name of the model';
COMMENT ON COLUMN rescore.lineage.version IS 'Number of the version';
COMMENT ON COLUMN rescore.lineage.examples IS 'Examples it learnt beyond its parent''s';
COMMENT ON COLUMN rescore.lineage.positives IS 'Of these, with the outcome';
COMMENT ON COLUMN rescore.lineage.period IS 'From the first to the last moment of these examples';
COMMENT ON COLUMN rescore.lineage.known_until IS 'No outcome known later was learnt';
COMMENT ON COLUMN rescore.lineage.watermark_xid IS 'Transaction up to which it learnt snapshots; null: it learnt past moments';
COMMENT ON COLUMN rescore.lineage.watermark_id IS 'Last snapshot it learnt of that transaction';
COMMENT ON COLUMN rescore.lineage.memory IS 'What learning on from it must know: counts, calibration, times';
COMMENT ON COLUMN rescore.lineage.reference IS 'Distribution of each design column in its examples, against which drift is told';
COMMENT ON COLUMN rescore.lineage.customers IS 'Different customers in that reference';

CREATE TABLE rescore.learn_requests (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    model TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    by TEXT DEFAULT SESSION_USER NOT NULL,
    reason TEXT,
    done_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id)
);

CREATE INDEX learn_requests_open_idx ON rescore.learn_requests (model) WHERE done_at IS NULL;

COMMENT ON TABLE rescore.learn_requests IS 'One row per wish that a model learn now';
COMMENT ON COLUMN rescore.learn_requests.id IS 'Order of requests';
COMMENT ON COLUMN rescore.learn_requests.model IS 'Model that is to learn';
COMMENT ON COLUMN rescore.learn_requests.at IS 'When it was asked for';
COMMENT ON COLUMN rescore.learn_requests.by IS 'Who asked';
COMMENT ON COLUMN rescore.learn_requests.reason IS 'Why, in the words of who asked';
COMMENT ON COLUMN rescore.learn_requests.done_at IS 'When a round began that answers it; null while none has';
COMMENT ON SEQUENCE rescore.learn_requests_id_seq IS 'Order of requests';

CREATE TABLE rescore.released (
    model TEXT NOT NULL,
    id BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    by TEXT DEFAULT SESSION_USER NOT NULL,
    PRIMARY KEY (model, id)
);

COMMENT ON TABLE rescore.released IS 'Snapshots let out of quarantine: they are learnt whatever they hold';
COMMENT ON COLUMN rescore.released.model IS 'Model of the snapshot';
COMMENT ON COLUMN rescore.released.id IS 'The snapshot';
COMMENT ON COLUMN rescore.released.at IS 'When it was released';
COMMENT ON COLUMN rescore.released.by IS 'Who released it';

CREATE TABLE rescore.drift_log (
    model TEXT NOT NULL,
    feature TEXT NOT NULL,
    version INTEGER NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    period TSTZRANGE,
    examples BIGINT NOT NULL,
    numbers JSONB NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (model, feature)
);

COMMENT ON TABLE rescore.drift_log IS 'One row per column of a model: how far its newest values are from those of training';
COMMENT ON COLUMN rescore.drift_log.model IS 'Name of the model';
COMMENT ON COLUMN rescore.drift_log.feature IS 'Column of the design row; or score, loss, label: as served, its log loss, what came of it';
COMMENT ON COLUMN rescore.drift_log.version IS 'Version whose training examples it is compared with';
COMMENT ON COLUMN rescore.drift_log.at IS 'When it was looked at';
COMMENT ON COLUMN rescore.drift_log.period IS 'From the first to the last moment of the snapshots compared';
COMMENT ON COLUMN rescore.drift_log.examples IS 'Snapshots compared';
COMMENT ON COLUMN rescore.drift_log.numbers IS 'What was found: psi, psi_by_chance, ks, p_value, outside, before, now';
COMMENT ON COLUMN rescore.drift_log.changed_at IS 'Moment from which on the streaming detector saw other values; null: it saw no change';

-- What is kept out is listed often, and is little of all that there is.
CREATE INDEX snapshots_quarantined_idx ON rescore.snapshots (model) WHERE quarantined IS NOT NULL;
