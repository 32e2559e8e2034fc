-- The newest examples up to a position of customers nobody learns from, newest first; see learn_batch.sql.
-- Whose hash is below `share`, as bytes, is tested on. Calls nothing; reads rescore.snapshots.
SELECT pg_catalog.count(*), pg_catalog.string_agg(e.hash, ''), pg_catalog.string_agg(pg_catalog.int8send(e.id), ''), pg_catalog.string_agg(pg_catalog.xid8send(e.resolved), ''),
       pg_catalog.string_agg(pg_catalog.timestamptz_send(e.taken_at), ''), pg_catalog.string_agg(pg_catalog.timestamptz_send(e.due_at), ''),
       pg_catalog.string_agg(pg_catalog.float8send(e.label), ''), pg_catalog.string_agg(pg_catalog.float8send(e.score), '') FILTER (WHERE {weigh}),
       pg_catalog.string_agg(pg_catalog.boolsend(coalesce(e.holdout, false)), ''), pg_catalog.string_agg(pg_catalog.boolsend(e.treated), '') FILTER (WHERE {weigh}),
       pg_catalog.string_agg(pg_catalog.array_send(e.design), '')
FROM (SELECT coalesce(s.hash, pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to({salt} || ':' || s.key, 'UTF8')), 1, 8)) AS hash,
             s.id, s.resolved, s.taken_at, s.due_at, coalesce(s.label, 0) AS label, coalesce(s.score, 'NaN') AS score, s.holdout,
             s.treated_at IS NOT NULL AS treated, s.design
      FROM rescore.snapshots AS s
      WHERE s.model = {model} AND (s.resolved, s.id) <= ({xid}::text::pg_catalog.xid8, {id}::pg_catalog.int8)
        AND s.resolved IS NOT NULL AND (s.label IS NOT NULL OR NOT {labelled}) AND NOT s.censored AND s.quarantined IS NULL AND (s.treated_at IS NULL OR {weigh})
        AND s.version = ANY ({versions}) AND s.taken_at > {after} AND s.taken_at >= {since}
        AND coalesce(s.hash, pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to({salt} || ':' || s.key, 'UTF8')), 1, 8)) < {share}
      ORDER BY s.resolved DESC, s.id DESC LIMIT {size}) AS e
