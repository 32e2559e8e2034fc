-- Revision 0007: versions beside the champion, why each switch was made in numbers, and alerts.
-- Calls: nothing. Tables: alters rescore.deployments and rescore.deployment_history; creates
-- rescore.alerts. Frozen once released: a change is a new revision.

ALTER TABLE rescore.deployments
    ADD COLUMN challenger INTEGER,
    ADD COLUMN challenger_share DOUBLE PRECISION,
    ADD COLUMN shadows INTEGER[] DEFAULT '{}' NOT NULL,
    ADD COLUMN predecessor INTEGER,
    ADD CONSTRAINT deployments_challenger_check CHECK ((challenger IS NULL) = (challenger_share IS NULL)),
    ADD CONSTRAINT deployments_share_check CHECK (challenger_share > 0 AND challenger_share < 1);

COMMENT ON COLUMN rescore.deployments.challenger IS 'Version that serves a share of the customers; null while there is none';
COMMENT ON COLUMN rescore.deployments.challenger_share IS 'Share of the customers it serves, between 0 and 1';
COMMENT ON COLUMN rescore.deployments.shadows IS 'Versions that score beside the champion in snapshots and serve nobody';
COMMENT ON COLUMN rescore.deployments.predecessor IS 'Version that served before the champion and was not rolled back from; scored beside it under a rollback rule';

ALTER TABLE rescore.deployment_history
    ADD COLUMN details JSONB,
    DROP CONSTRAINT deployment_history_action_check,
    ADD CONSTRAINT deployment_history_action_check
        CHECK (action IN ('publish', 'candidate', 'promote', 'rollback', 'challenge', 'shadow', 'demote'));
COMMENT ON COLUMN rescore.deployment_history.action IS 'publish, candidate, promote, rollback, challenge, shadow or demote';
COMMENT ON COLUMN rescore.deployment_history.details IS 'Numbers the decision was made on; null where somebody decided';

CREATE TABLE rescore.alerts (
    cause TEXT NOT NULL,
    rule TEXT NOT NULL,
    message TEXT NOT NULL,
    first_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    resolved_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (cause)
);

COMMENT ON TABLE rescore.alerts IS 'One row per cause that an alert rule has found; told once until it is gone and comes back';
COMMENT ON COLUMN rescore.alerts.cause IS 'What is wrong with what, without numbers that change';
COMMENT ON COLUMN rescore.alerts.rule IS 'Rule that found it';
COMMENT ON COLUMN rescore.alerts.message IS 'What was found last';
COMMENT ON COLUMN rescore.alerts.first_at IS 'When it was first found, or found again after it was gone';
COMMENT ON COLUMN rescore.alerts.last_at IS 'When it was last found';
COMMENT ON COLUMN rescore.alerts.sent_at IS 'When it was told; null while it has not been, or the command failed';
COMMENT ON COLUMN rescore.alerts.resolved_at IS 'When it was gone; null while it lasts';
