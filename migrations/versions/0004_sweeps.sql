-- Revision 0004: how far the sweep of each profile has come.
-- Calls: nothing. Tables: creates rescore.sweeps.
-- Frozen once released: a change is a new revision.

CREATE TABLE rescore.sweeps (
    profile TEXT NOT NULL,
    terms JSONB NOT NULL,
    position TEXT,
    size INTEGER NOT NULL,
    looked BIGINT DEFAULT 0 NOT NULL,
    changed BIGINT DEFAULT 0 NOT NULL,
    locked TEXT[] DEFAULT '{}'::text[] NOT NULL,
    misses INTEGER DEFAULT 0 NOT NULL,
    pid INTEGER,
    held_until TIMESTAMP WITH TIME ZONE,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (profile)
);

COMMENT ON TABLE rescore.sweeps IS 'One row per profile ever swept: where its last sweep stands, so that the next goes on there';
COMMENT ON COLUMN rescore.sweeps.profile IS 'Profile swept';
COMMENT ON COLUMN rescore.sweeps.terms IS 'What it sweeps for: age, tolerance, definition, serving versions; another sweep begins anew';
COMMENT ON COLUMN rescore.sweeps.position IS 'Last key done, as text; null before the first batch';
COMMENT ON COLUMN rescore.sweeps.size IS 'Rows of the next batch: fewer after others held locks, more again when they do not';
COMMENT ON COLUMN rescore.sweeps.looked IS 'Rows looked at';
COMMENT ON COLUMN rescore.sweeps.changed IS 'Rows written';
COMMENT ON COLUMN rescore.sweeps.locked IS 'Keys passed over because others held their rows; tried again at the end';
COMMENT ON COLUMN rescore.sweeps.misses IS 'Batches one after the other that got no lock';
COMMENT ON COLUMN rescore.sweeps.pid IS 'Server process that sweeps, or did last';
COMMENT ON COLUMN rescore.sweeps.held_until IS 'Until when nobody else may go on with it while that process lives';
COMMENT ON COLUMN rescore.sweeps.started_at IS 'When it began';
COMMENT ON COLUMN rescore.sweeps.finished_at IS 'When it came to the end; null while it has not';
