-- Of which versions' scores it was corrected what came: these are judged anew.
-- Calls: 017_cluster. Tables: reads rescore.profiles, rescore.deployments, rescore.models; writes rescore.relabelled.

CREATE OR REPLACE FUNCTION rescore._note_relabelled(model text, versions integer[])
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    -- Only ever inserted: nobody who corrects, quarantines or releases waits for another here. Numbers are not judged.
    INSERT INTO rescore.relabelled (model, version, xid)
    SELECT d.model, v.version, t.xid
    FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
    JOIN rescore.models AS v ON v.model = d.model AND v.version = ANY (versions)
    CROSS JOIN (SELECT rescore._transaction() AS xid WHERE cardinality(versions) > 0 OFFSET 0) AS t
    WHERE d.model = _note_relabelled.model AND (p.plan #> ARRAY['labels', d.spec ->> 'label', 'number'])::boolean IS NOT TRUE
    ON CONFLICT ON CONSTRAINT relabelled_pkey DO NOTHING
$$;
COMMENT ON FUNCTION rescore._note_relabelled(text, integer[]) IS
    'Notes that what came of scores of these versions is no longer what they may have been judged by: they are judged anew.';

CREATE OR REPLACE FUNCTION rescore._forget_relabelled(models text[])
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- Judged anew is who has any that a judgement has not counted; of those that have ended for everybody, the last one
    -- is past it if any is. Those that have not may become visible behind a judgement that is being made: they stay.
    WITH e AS MATERIALIZED (SELECT rescore._ended() AS bound), counted AS MATERIALIZED (
        SELECT o.model, o.version, o.xid
        FROM rescore.relabelled AS o CROSS JOIN e
        WHERE o.model = ANY (models)
          AND EXISTS (SELECT FROM rescore.relabelled AS l
                      WHERE l.model = o.model AND l.version = o.version AND l.xid > o.xid AND l.xid < e.bound)
        FOR UPDATE OF o SKIP LOCKED)
    DELETE FROM rescore.relabelled AS r USING counted AS c WHERE r.model = c.model AND r.version = c.version AND r.xid = c.xid
$$;
COMMENT ON FUNCTION rescore._forget_relabelled(text[]) IS
    'Deletes what rescore._note_relabelled has noted and no judgement needs, since something later of the same version says as much; waits for nobody.';
