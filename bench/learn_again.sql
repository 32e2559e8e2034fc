-- Everything as it was before anything was learnt: version 2 serves, which learning goes on from.
-- Writes what rescore keeps of learning and of versions.
SELECT rescore.promote('churn', 2) FROM rescore.deployments WHERE model = 'churn' AND champion > 2;
TRUNCATE rescore.learning, rescore.learn_log;
DELETE FROM rescore.lineage WHERE version > 2;
