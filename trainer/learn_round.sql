-- How many snapshots the newest round of a model logged, and after which moment the newest whole rounds begin that hold
-- so many or fewer; of a round that holds more, when it began. `every`: seconds from one round to the next.
-- While a round is under way, the customers that it has yet to come to are those of the one before.
-- Calls nothing; reads rescore.snapshots.
WITH known AS NOT MATERIALIZED (
    SELECT s.taken_at FROM rescore.snapshots AS s
    WHERE s.model = {model} AND s.quarantined IS NULL AND s.version = ANY ({versions}) AND (NOT {resolved} OR s.label IS NOT NULL)
),
newest AS MATERIALIZED (SELECT k.taken_at FROM known AS k ORDER BY k.taken_at DESC LIMIT 1),
round AS MATERIALIZED (
    SELECT pg_catalog.count(*) AS size FROM known AS k
    WHERE k.taken_at > (SELECT n.taken_at FROM newest AS n) - pg_catalog.make_interval(secs => {every})
),
-- How many rounds ago the first one too many was logged.
earlier AS (
    SELECT pg_catalog.floor(pg_catalog.date_part('epoch', n.taken_at - k.taken_at) / {every}) AS rounds
    FROM newest AS n CROSS JOIN known AS k ORDER BY k.taken_at DESC OFFSET {size} LIMIT 1
)
SELECT r.size, n.taken_at - pg_catalog.make_interval(secs => {every} * CASE WHEN r.size > {size} THEN 1 ELSE (SELECT e.rounds FROM earlier AS e) END)
FROM round AS r CROSS JOIN newest AS n
