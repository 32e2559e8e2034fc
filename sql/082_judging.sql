-- How well each version served. Calls: nothing. Tables: reads rescore.judgements.

CREATE OR REPLACE VIEW rescore.served_quality AS
SELECT j.model, j.version, lower(j.period) AS began, upper(j.period) AS ended, j.snapshots, j.open, j.examples, j.customers,
       (j.metrics #>> '{base_rate,estimate}')::double precision AS base_rate,
       (j.metrics #>> '{auc,estimate}')::double precision AS auc,
       (j.metrics #>> '{auc,low}')::double precision AS auc_low, (j.metrics #>> '{auc,high}')::double precision AS auc_high,
       (j.metrics #>> '{log_loss,estimate}')::double precision AS log_loss,
       (j.metrics #>> '{log_loss,low}')::double precision AS log_loss_low, (j.metrics #>> '{log_loss,high}')::double precision AS log_loss_high,
       j.against, j.metric, (j.gain ->> 'estimate')::double precision AS gain,
       (j.gain ->> 'low')::double precision AS gain_low, (j.gain ->> 'high')::double precision AS gain_high, j.verdict, j.at
FROM rescore.judgements AS j;
COMMENT ON VIEW rescore.served_quality IS 'How well each version served, also after it was replaced: what came of the scores it gave as champion, beside what the version whose place it took would have given.';
COMMENT ON COLUMN rescore.served_quality.model IS 'Name of the model';
COMMENT ON COLUMN rescore.served_quality.version IS 'Version that served';
COMMENT ON COLUMN rescore.served_quality.began IS 'Moment of its first snapshot as champion';
COMMENT ON COLUMN rescore.served_quality.ended IS 'Moment of its last';
COMMENT ON COLUMN rescore.served_quality.snapshots IS 'Snapshots it scored as champion';
COMMENT ON COLUMN rescore.served_quality.open IS 'Of these, without an outcome yet';
COMMENT ON COLUMN rescore.served_quality.examples IS 'Snapshots the numbers are of';
COMMENT ON COLUMN rescore.served_quality.customers IS 'Different customers among these';
COMMENT ON COLUMN rescore.served_quality.base_rate IS 'Share of positive outcomes';
COMMENT ON COLUMN rescore.served_quality.auc IS 'AUC of its scores';
COMMENT ON COLUMN rescore.served_quality.auc_low IS 'Lower bound of the AUC, by customers';
COMMENT ON COLUMN rescore.served_quality.auc_high IS 'Upper bound of the AUC';
COMMENT ON COLUMN rescore.served_quality.log_loss IS 'Log loss of its scores; null where scores are no probabilities';
COMMENT ON COLUMN rescore.served_quality.log_loss_low IS 'Lower bound of the log loss';
COMMENT ON COLUMN rescore.served_quality.log_loss_high IS 'Upper bound of the log loss';
COMMENT ON COLUMN rescore.served_quality.against IS 'Version whose place it took; null where there is none to compare with';
COMMENT ON COLUMN rescore.served_quality.metric IS 'Metric of the gain';
COMMENT ON COLUMN rescore.served_quality.gain IS 'By how much it was better than that on the same snapshots; below 0, worse';
COMMENT ON COLUMN rescore.served_quality.gain_low IS 'Lower bound of the gain';
COMMENT ON COLUMN rescore.served_quality.gain_high IS 'Upper bound of the gain';
COMMENT ON COLUMN rescore.served_quality.verdict IS 'better or worse where the interval says so; else even when all is resolved, open before';
COMMENT ON COLUMN rescore.served_quality.at IS 'When it was judged, by the profile''s clock';
