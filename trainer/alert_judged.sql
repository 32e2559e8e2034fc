-- Versions that were judged, no longer ago than so, to have served worse than the one whose place they took.
-- Calls rescore._clock_of; reads rescore.judgements, rescore.deployments.
SELECT j.model, j.version, j.against, j.metric, j.gain, j.examples, j.customers, d.champion = j.version
FROM rescore.judgements AS j JOIN rescore.deployments AS d ON d.model = j.model
WHERE j.verdict = 'worse' AND j.against IS NOT NULL AND j.at >= rescore._clock_of(j.model) - %(within)s::pg_catalog.interval
  AND (d.champion = j.version OR NOT %(serving)s)
ORDER BY j.model, j.version
