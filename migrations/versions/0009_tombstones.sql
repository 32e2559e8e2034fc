-- Revision 0009: who was forgotten, as digests that name nobody.
-- Calls: nothing. Tables: creates rescore.tombstones, rescore.tombstone_secret.
-- Frozen once released: a change is a new revision.

CREATE TABLE rescore.tombstones (
    profile TEXT NOT NULL,
    digest BYTEA NOT NULL,
    forgotten_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    forgotten_by TEXT DEFAULT SESSION_USER NOT NULL,
    PRIMARY KEY (profile, digest)
);

COMMENT ON TABLE rescore.tombstones IS 'One row per key that was forgotten: it is not to be brought back by events that stayed or come late';
COMMENT ON COLUMN rescore.tombstones.profile IS 'Profile the key was forgotten in';
COMMENT ON COLUMN rescore.tombstones.digest IS 'Digest of the key under this database''s secret (HMAC-SHA256)';
COMMENT ON COLUMN rescore.tombstones.forgotten_at IS 'When it was forgotten';
COMMENT ON COLUMN rescore.tombstones.forgotten_by IS 'Who had it forgotten';

CREATE TABLE rescore.tombstone_secret (
    secret_id INTEGER NOT NULL,
    inner_key BYTEA NOT NULL,
    outer_key BYTEA NOT NULL,
    PRIMARY KEY (secret_id),
    CONSTRAINT tombstone_secret_single_check CHECK (secret_id = 1)
);

COMMENT ON TABLE rescore.tombstone_secret IS 'The secret under which forgotten keys are digested: one row, made when it is first needed';
COMMENT ON COLUMN rescore.tombstone_secret.secret_id IS 'Always 1';
COMMENT ON COLUMN rescore.tombstone_secret.inner_key IS '64 random bytes: the inner key of the HMAC';
COMMENT ON COLUMN rescore.tombstone_secret.outer_key IS '64 random bytes: the outer key of the HMAC';
