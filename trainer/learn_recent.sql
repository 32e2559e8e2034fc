-- The newest snapshots, resolved or not, newest first; see learn_batch.sql.
-- Calls nothing; reads rescore.snapshots.
SELECT pg_catalog.count(*), pg_catalog.string_agg(e.hash, ''), pg_catalog.string_agg(pg_catalog.int8send(e.id), ''), NULL,
       pg_catalog.string_agg(pg_catalog.timestamptz_send(e.taken_at), ''), pg_catalog.string_agg(pg_catalog.timestamptz_send(e.taken_at), ''),
       pg_catalog.string_agg(pg_catalog.float8send(coalesce(e.label, 'NaN')), ''), pg_catalog.string_agg(pg_catalog.float8send(coalesce(e.score, 'NaN')), ''), NULL, NULL,
       pg_catalog.string_agg(pg_catalog.array_send(e.design), '')
FROM (SELECT coalesce(s.hash, pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to({salt} || ':' || s.key, 'UTF8')), 1, 8)) AS hash,
             s.id, s.taken_at, s.label, s.score, s.design
      FROM rescore.snapshots AS s
      WHERE s.model = {model} AND s.quarantined IS NULL AND s.version = ANY ({versions}) AND (NOT {resolved} OR s.label IS NOT NULL)
      ORDER BY s.taken_at DESC, s.key DESC LIMIT {size}) AS e
