-- Revision 0015: what the runner is to judge anew.
-- Calls: nothing. Tables: creates rescore.relabelled.
-- Frozen once released: a change is a new revision.

CREATE TABLE rescore.relabelled (
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    xid XID8 NOT NULL,
    PRIMARY KEY (model, version, xid),
    CONSTRAINT relabelled_version_fkey FOREIGN KEY(model, version) REFERENCES rescore.models (model, version) ON DELETE CASCADE
);

COMMENT ON TABLE rescore.relabelled IS 'One row per version and transaction that corrected, quarantined or released outcomes of its scores, until it is judged by them';
COMMENT ON COLUMN rescore.relabelled.model IS 'Name of the model';
COMMENT ON COLUMN rescore.relabelled.version IS 'Version that gave the scores';
COMMENT ON COLUMN rescore.relabelled.xid IS 'Transaction that changed what came of them';
