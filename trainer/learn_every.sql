-- Seconds from one round of snapshots of a model to the next; NULL where events are logged, and no rounds.
-- Calls rescore._seconds; reads rescore.deployments and rescore.profiles.
SELECT pg_catalog.date_part('epoch', rescore._seconds(p.definition, 'every', NULL))
FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
WHERE d.model = %s
