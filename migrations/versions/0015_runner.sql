-- Revision 0015: what the runner is to judge anew, and how its jobs went.
-- Calls: nothing. Tables: creates rescore.relabelled and rescore.runner_jobs.
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

CREATE TABLE rescore.runner_jobs (
    job TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    error TEXT,
    times INTEGER NOT NULL,
    failing_since TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (job)
);

COMMENT ON TABLE rescore.runner_jobs IS 'One row per job of `rescore run`: how it went last';
COMMENT ON COLUMN rescore.runner_jobs.job IS 'Name of the job, as in the log';
COMMENT ON COLUMN rescore.runner_jobs.at IS 'When a round of it last ended, to a minute as long as nothing changes';
COMMENT ON COLUMN rescore.runner_jobs.error IS 'What fails, of the job or of some of its profiles or models; null when nothing does';
COMMENT ON COLUMN rescore.runner_jobs.times IS 'How often it has failed one after the other';
COMMENT ON COLUMN rescore.runner_jobs.failing_since IS 'When it failed first without having gone well since; null when nothing fails';
