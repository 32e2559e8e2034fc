-- Models that should learn and have learnt nothing for long, for rescore.health.
-- Calls: rescore._defines of 035_deployment. Tables: reads rescore.deployments, rescore.profiles, rescore.learn_log,
-- rescore.deployment_history, rescore.snapshots.

CREATE OR REPLACE FUNCTION rescore._starved()
RETURNS TABLE (model text, detail text)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    -- For long: in three rounds since a candidate last passed, or another version was let serve. A round that finds what the last one
    -- found has no row of its own: rescore._learn_record counts it, where outcomes have become known in between.
    SELECT d.model, format('%s has published nothing in %s rounds, the last at %s: ', d.model, r.rounds, to_char(g.at, 'YYYY-MM-DD HH24:MI'))
        || CASE g.action
           WHEN 'waiting' THEN format('it waits (%s); lower `minimum` in `learn`, or let `test` take a larger share', w.reasons)
           WHEN 'quarantined' THEN format('%s snapshots are kept out, %s of them implausible themselves%s, %s only since their batch has such; '
                    '`rescore quarantine` lists them, `rescore release %s` lets them be learnt; a larger `suspect` in `learn` spares the others, `clip` on the feature and `rescore train` keep such values from coming back',
                    k.snapshots, k.implausible, coalesce(', most often by ' || k.most, ''), k.along, d.model)
           ELSE format('it was refused (%s); rescore.learn_log has the rounds, `rescore train` begins anew', w.reasons) END
    FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
    CROSS JOIN LATERAL (
        SELECT sum(coalesce((i.metrics ->> 'rounds')::bigint, 1)) AS rounds, max(i.id) AS last FROM rescore.learn_log AS i
        WHERE i.model = d.model AND i.action IN ('waiting', 'refused', 'quarantined')
          AND i.id > coalesce((SELECT max(o.id) FROM rescore.learn_log AS o WHERE o.model = d.model AND o.action IN ('published', 'candidate')), 0)
          AND i.at > coalesce((SELECT max(h.at) FROM rescore.deployment_history AS h
                               WHERE h.model = d.model AND h.action IN ('publish', 'promote', 'rollback')), '-infinity')) AS r
    JOIN rescore.learn_log AS g ON g.id = r.last
    CROSS JOIN LATERAL (SELECT string_agg(a.reason, '; ' ORDER BY a.n) AS reasons
                        FROM jsonb_array_elements_text(g.reasons) WITH ORDINALITY AS a (reason, n)) AS w
    LEFT JOIN LATERAL (
        SELECT sum(q.snapshots) AS snapshots, coalesce(sum(q.snapshots) FILTER (WHERE q.implausible), 0) AS implausible,
               coalesce(sum(q.snapshots) FILTER (WHERE starts_with(q.reason, 'in a batch of which ')), 0) AS along,
               (array_agg(substring(q.reason FROM '^implausible (.*): far outside ') ORDER BY q.snapshots DESC) FILTER (WHERE q.implausible))[1] AS most
        -- As rescore.trainer.loop.guard words them.
        FROM (SELECT s.quarantined AS reason, count(*) AS snapshots, starts_with(s.quarantined, 'implausible ') AS implausible
              FROM rescore.snapshots AS s WHERE s.model = d.model AND s.quarantined IS NOT NULL GROUP BY s.quarantined) AS q
    ) AS k ON g.action = 'quarantined'
    WHERE r.rounds >= 3 AND jsonb_typeof(d.spec -> 'learn') = 'object' AND d.champion IS NOT NULL AND rescore._defines(p.definition, d.model)
$$;
COMMENT ON FUNCTION rescore._starved() IS
    'Models that are to learn and have published nothing in three rounds and more, each with why and what to do.';
