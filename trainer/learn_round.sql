-- The newest moment a model was logged at, and after which moment the newest whole rounds begin that hold so many snapshots or
-- fewer; of a round that holds more, when it began; NULL where there are no more than so many at all. `every`: seconds from
-- one round to the next. While a round is under way, the customers that it has yet to come to are those of the one before.
-- With `resolved`, those whose outcome is known: they are found in the order in which it became known, since those that wait
-- for it may be all of many rounds; what was released has been given a new place. No more is read than is asked for, however
-- many customers a round and however many rounds the table has; newer rounds of which nothing may be looked at (kept out of
-- learning, of versions with other columns, censored) are read past. Calls nothing; reads rescore.snapshots, rescore.released.
WITH newest AS MATERIALIZED (
    SELECT CASE WHEN {resolved} THEN coalesce((
        SELECT pg_catalog.max(k.taken_at) FROM (
            SELECT s.taken_at, s.version, s.quarantined, s.censored FROM rescore.snapshots AS s
            WHERE s.model = {model} AND s.resolved IS NOT NULL
              AND NOT EXISTS (SELECT FROM rescore.released AS r WHERE r.model = s.model AND r.id = s.id)
            ORDER BY s.resolved DESC, s.id DESC LIMIT {size}) AS k
        WHERE k.quarantined IS NULL AND NOT k.censored AND k.version = ANY ({versions}::pg_catalog.int4[])), (
        SELECT s.taken_at FROM rescore.snapshots AS s
        WHERE s.model = {model} AND s.resolved IS NOT NULL AND s.quarantined IS NULL AND NOT s.censored
          AND s.version = ANY ({versions}::pg_catalog.int4[])
        ORDER BY s.resolved DESC, s.id DESC LIMIT 1))
    ELSE (SELECT s.taken_at FROM rescore.snapshots AS s
          WHERE s.model = {model} AND s.quarantined IS NULL AND s.version = ANY ({versions}::pg_catalog.int4[])
          ORDER BY s.taken_at DESC LIMIT 1) END AS at
)
SELECT n.at, n.at - pg_catalog.make_interval(secs => {every} * CASE WHEN e.rounds < 1 THEN 1 ELSE e.rounds END)
FROM newest AS n
LEFT JOIN LATERAL (
    -- How many rounds ago the first one too many was logged.
    SELECT pg_catalog.floor(pg_catalog.date_part('epoch', n.at - s.taken_at) / {every}) AS rounds FROM rescore.snapshots AS s
    WHERE s.model = {model} AND s.taken_at <= n.at ORDER BY s.taken_at DESC OFFSET {size} LIMIT 1) AS e ON true
