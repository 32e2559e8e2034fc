-- Resolved snapshots that one of two versions scored, with both scores where both exist, else NaN.
-- Every column has one length and none is NULL, so that the answer is read as it comes: see compare_rows.py.
-- Calls rescore._hash; reads rescore.snapshots.
SELECT rescore._hash('compare', s.key), s.label,
       s.version, coalesce(s.serving = 'challenger', false), s.treated_at IS NOT NULL,
       coalesce(CASE WHEN s.version = {candidate} THEN s.score ELSE (s.others ->> {candidate}::pg_catalog.text)::pg_catalog.float8 END, 'NaN'),
       coalesce(CASE WHEN s.version = {champion} THEN s.score ELSE (s.others ->> {champion}::pg_catalog.text)::pg_catalog.float8 END, 'NaN'),
       coalesce(s.taken_at >= {trial}::pg_catalog.timestamptz, false) AS in_trial
FROM rescore.snapshots AS s
WHERE s.model = {model} AND s.resolved IS NOT NULL AND s.label IS NOT NULL AND NOT s.censored AND s.quarantined IS NULL
  AND ({since}::pg_catalog.timestamptz IS NULL OR s.taken_at >= {since}::pg_catalog.timestamptz)
  AND (s.version IN ({candidate}, {champion}) OR s.others ?| ARRAY[{candidate}, {champion}]::pg_catalog.text[])
