-- One row per deployed model. Calls nothing; reads the view rescore.model_status.
SELECT s.model, s.profile, s.champion, s.challenger, s.challenger_share, s.shadows, s.engine, s.score_columns, s.clock, s.learnt, s.idle,
       s.moved, s.columns_moved, s.quarantined, s.backfilling, s.removed, s.paused, s.since, s.incidents
FROM rescore.model_status AS s ORDER BY s.model
