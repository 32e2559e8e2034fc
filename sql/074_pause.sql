-- Pausing a profile: its triggers are disabled, not told to do nothing. So nothing of rescore runs in a
-- writer's statement, whatever is wrong with it, and a profile that is not paused pays nothing for it.
-- Calls: 010_errors. Tables: reads rescore.profiles and the catalogue; alters triggers of the event,
-- link and profile tables; writes rescore.folds, rescore.queue.

CREATE OR REPLACE FUNCTION rescore._triggers(profile text)
RETURNS TABLE (relation oid, shown text, name text, enabled boolean, own boolean, notes boolean, always boolean)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT t.tgrelid, t.tgrelid::regclass::text, t.tgname::text, t.tgenabled IN ('O', 'A'),
           t.tgrelid = to_regclass(format('%I.%I', p.table_schema, p.table_name)) IS TRUE,
           t.tgrelid = to_regclass(format('%I.%I', p.table_schema, p.table_name)) IS TRUE AND (t.tgtype & 40 <> 0 OR f.proname = p.slug || '__row_move'),
           coalesce(p.plan -> 'always' ? t.tgname, false)
    FROM rescore.profiles AS p
    JOIN pg_proc AS f ON f.pronamespace = 'rescore_compiled'::regnamespace AND starts_with(f.proname, p.slug || '__')
    JOIN pg_trigger AS t ON t.tgfoid = f.oid AND t.tgparentid = 0 AND NOT t.tgisinternal
    WHERE p.profile = _triggers.profile
    -- The profile last: the order in which an insert of an event takes the tables.
    ORDER BY 5, 2, 3
$$;
COMMENT ON FUNCTION rescore._triggers(text) IS
    'The triggers of a profile: their tables, whether they fire, whether they are on the profile itself, and whether they note who was deleted, or whose key was changed.';

CREATE OR REPLACE FUNCTION rescore._enable_triggers(profile text, wanted boolean)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t record;
    changed integer := 0;
BEGIN
    -- Whoever has written the tables commits before their triggers are enabled: who writes later is counted by them.
    FOR t IN SELECT DISTINCT g.relation::regclass AS name, g.own, g.shown FROM rescore._triggers(profile) AS g ORDER BY g.own, g.shown LOOP
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', t.name);
    END LOOP;
    -- Who deletes a row of the profile, or changes its key, is noted all the same: the customer must not come
    -- back with the resume.
    FOR t IN SELECT * FROM rescore._triggers(profile) AS g WHERE g.enabled <> wanted AND NOT g.notes LOOP
        EXECUTE format('ALTER TABLE %s %s TRIGGER %I', t.relation::regclass, CASE WHEN NOT wanted THEN 'DISABLE' WHEN t.always THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END, t.name);
        changed := changed + 1;
    END LOOP;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION rescore._enable_triggers(text, boolean) IS
    'Enables or disables the triggers of a profile, its tables locked against writers; returns how many.';

CREATE OR REPLACE FUNCTION rescore._note_pause(profile text, paused boolean, reason text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO rescore.folds AS f (profile, paused_at, paused_by, reason)
    VALUES (_note_pause.profile, CASE WHEN paused THEN now() END, CASE WHEN paused THEN session_user END, CASE WHEN paused THEN _note_pause.reason END)
    ON CONFLICT ON CONSTRAINT folds_pkey DO UPDATE
        SET paused_at = excluded.paused_at, paused_by = excluded.paused_by, reason = excluded.reason;
    IF NOT paused THEN
        INSERT INTO rescore.queue (profile, came) VALUES (_note_pause.profile, false);
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._note_pause(text, boolean, text) IS
    'Records that a profile is paused, or that it no longer is and that everybody is to be counted anew.';

CREATE OR REPLACE FUNCTION rescore.pause(profile text, reason text DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p rescore.profiles := rescore._profile(profile);
    changed integer;
BEGIN
    PERFORM rescore._require_running(p.profile);
    changed := rescore._enable_triggers(p.profile, false);
    PERFORM rescore._note_pause(p.profile, true, reason);
    RETURN changed;
END
$$;
COMMENT ON FUNCTION rescore.pause(text, text) IS
    'Stops every effect of a profile on who writes its tables: disables its triggers, as the owner of the tables, and returns how many; RS027 while it is paused already.';

CREATE OR REPLACE FUNCTION rescore.resume(profile text)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p rescore.profiles := rescore._profile(profile);
    changed integer := 0;
BEGIN
    IF rescore._is_paused(p.profile) THEN
        changed := rescore._enable_triggers(p.profile, true);
        PERFORM rescore._note_pause(p.profile, false, NULL);
    END IF;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION rescore.resume(text) IS
    'Ends the pause of a profile: enables its triggers, returns how many, and asks for everybody to be counted anew, which a fold does; 0 for a profile that is not paused.';

CREATE OR REPLACE FUNCTION rescore._is_paused(profile text)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM rescore.folds AS f WHERE f.profile = _is_paused.profile AND f.paused_at IS NOT NULL)
$$;
COMMENT ON FUNCTION rescore._is_paused(text) IS 'Whether a profile is paused.';
