-- What came of a version's scores beside those of the version whose place it took, as judged since a rule last
-- acted: whoever lets a version serve again that a rule has taken away knows what was known by then.
-- Calls nothing; reads rescore.judgements.
SELECT j.version, j.against, j.metric, j.examples, j.customers, j.open, j.gain
FROM rescore.judgements AS j
WHERE j.model = %(model)s AND j.version = %(champion)s AND j.against IS NOT NULL AND j.verdict = 'worse'
  AND (%(acted)s::pg_catalog.timestamptz IS NULL OR j.at > %(acted)s::pg_catalog.timestamptz)
