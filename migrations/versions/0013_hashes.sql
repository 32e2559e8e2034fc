-- Revision 0013: the hash of a snapshot's customer, kept so that learning need not compute it.
-- Calls: nothing. Tables: alters rescore.snapshots and with it every partition.
-- Frozen once released: a change is a new revision.

ALTER TABLE rescore.snapshots ADD COLUMN hash BYTEA;

COMMENT ON COLUMN rescore.snapshots.hash IS 'First 8 bytes of the SHA-256 of "learn MODEL:KEY", set when it is resolved: by it customers are tested on; null: computed when read';
