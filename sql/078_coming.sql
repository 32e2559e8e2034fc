-- Events of the future: stored, and counted when their time has come.
-- Calls: rescore_compiled.S__coming of every profile. Tables: reads rescore.profiles.

CREATE OR REPLACE FUNCTION rescore.coming()
RETURNS TABLE (profile text, event text, customers bigint, earliest timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p record;
BEGIN
    FOR p IN SELECT f.profile, f.slug FROM rescore.profiles AS f ORDER BY f.profile LOOP
        -- A profile of an older version has none; one of another owner may not be looked into.
        CONTINUE WHEN coalesce(NOT has_function_privilege(to_regprocedure(format('rescore_compiled.%I()', p.slug || '__coming')), 'EXECUTE'), true);
        BEGIN
            RETURN QUERY EXECUTE format('SELECT $1, c.source, c.customers, c.earliest FROM rescore_compiled.%I() AS c WHERE c.customers > 0',
                                        p.slug || '__coming') USING p.profile;
        EXCEPTION WHEN undefined_function OR undefined_table OR undefined_column THEN
            -- What is broken is told by other checks of rescore.health, which must not fail with this one.
            NULL;
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION rescore.coming() IS
    'Customers with events of the future, by profile and event, and when the earliest is due; it reads each profile table once.';
