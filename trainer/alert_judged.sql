-- Versions that were judged, no longer ago than so, to have served worse than the one whose place they took.
-- Of models that are defined.
-- Calls rescore._clock_of, rescore._defines; reads rescore.judgements, rescore.deployments, rescore.profiles.
SELECT j.model, j.version, j.against, j.metric, j.gain, j.examples, j.customers, d.champion = j.version
FROM rescore.judgements AS j JOIN rescore.deployments AS d ON d.model = j.model JOIN rescore.profiles AS p ON p.profile = d.profile
WHERE j.verdict = 'worse' AND j.against IS NOT NULL AND j.at >= rescore._clock_of(j.model) - %(within)s::pg_catalog.interval
  AND rescore._defines(p.definition, d.model) AND (d.champion = j.version OR NOT %(serving)s)
ORDER BY j.model, j.version
