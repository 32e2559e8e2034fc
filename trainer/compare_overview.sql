-- How many snapshots and customers there are to compare two versions on: both scored, or each its own;
-- whether all scores could be probabilities; and since when the candidate has challenged.
-- Calls nothing; reads rescore.snapshots.
SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE r.both), pg_catalog.count(DISTINCT r.key) FILTER (WHERE r.both),
       pg_catalog.count(*) FILTER (WHERE r.own), pg_catalog.count(DISTINCT r.key) FILTER (WHERE r.own AND r.version = %(candidate)s),
       pg_catalog.count(DISTINCT r.key) FILTER (WHERE r.own AND r.version = %(champion)s),
       coalesce(pg_catalog.bool_and(coalesce(r.one BETWEEN 0 AND 1, true) AND coalesce(r.other BETWEEN 0 AND 1, true)) FILTER (WHERE r.both OR r.own), false),
       (SELECT pg_catalog.min(c.taken_at) FROM rescore.snapshots AS c
        WHERE c.model = %(model)s AND c.version = %(candidate)s AND c.serving = 'challenger')
FROM (
    SELECT s.key, s.version, v.one, v.other, s.treated_at IS NULL AND v.one IS NOT NULL AND v.other IS NOT NULL AS both,
           s.treated_at IS NULL AND s.score IS NOT NULL AND s.version IN (%(candidate)s, %(champion)s) AS own
    FROM rescore.snapshots AS s
    CROSS JOIN LATERAL (
        SELECT CASE WHEN s.version = %(candidate)s THEN s.score ELSE (s.others ->> %(candidate)s::pg_catalog.text)::pg_catalog.float8 END AS one,
               CASE WHEN s.version = %(champion)s THEN s.score ELSE (s.others ->> %(champion)s::pg_catalog.text)::pg_catalog.float8 END AS other
    ) AS v
    WHERE s.model = %(model)s AND s.resolved IS NOT NULL AND s.label IS NOT NULL AND NOT s.censored AND s.quarantined IS NULL
      AND (%(since)s::pg_catalog.timestamptz IS NULL OR s.taken_at >= %(since)s::pg_catalog.timestamptz)
      AND (s.version IN (%(candidate)s, %(champion)s) OR s.others ?| ARRAY[%(candidate)s, %(champion)s]::pg_catalog.text[])
) AS r
