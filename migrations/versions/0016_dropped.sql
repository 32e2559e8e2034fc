-- Revision 0016: a model that was dropped stands in the history as what it is.
-- Calls: nothing. Tables: alters and updates rescore.deployment_history.
-- Frozen once released: a change is a new revision.

ALTER TABLE rescore.deployment_history
    DROP CONSTRAINT deployment_history_action_check,
    ADD CONSTRAINT deployment_history_action_check
        CHECK (action IN ('publish', 'candidate', 'promote', 'rollback', 'challenge', 'shadow', 'demote', 'drop'));
COMMENT ON TABLE rescore.deployment_history IS 'One row per switch of a model''s champion, per recorded candidate, and per model that was dropped';
COMMENT ON COLUMN rescore.deployment_history.action IS 'publish, candidate, promote, rollback, challenge, shadow, demote or drop';
COMMENT ON COLUMN rescore.deployment_history.version IS 'Version the action was about; of a model that was dropped the one that served, or else the newest';
COMMENT ON COLUMN rescore.deployment_history.details IS 'Numbers the decision was made on; of a model that was dropped what went, rows and bytes by place; null where somebody decided';

-- Until now a drop was written as a demotion. Only a drop tells what was dropped.
UPDATE rescore.deployment_history SET action = 'drop' WHERE action = 'demote' AND details ? 'dropped';
