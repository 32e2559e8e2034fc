-- Events of the future: stored, and counted when their time has come.
-- Calls: rescore_compiled.S__coming of every profile. Tables: reads rescore.profiles.

CREATE OR REPLACE FUNCTION rescore._of_profiles(suffix text)
RETURNS TABLE (profile text, told jsonb)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p record;
BEGIN
    FOR p IN SELECT f.profile, f.slug || '__' || suffix AS function FROM rescore.profiles AS f ORDER BY f.profile LOOP
        -- A profile of an older version has none; one of another owner may not be looked into.
        CONTINUE WHEN coalesce(NOT has_function_privilege(to_regprocedure(format('rescore_compiled.%I()', p.function)), 'EXECUTE'), true);
        BEGIN
            RETURN QUERY EXECUTE format('SELECT $1, to_jsonb(r) FROM rescore_compiled.%I() AS r', p.function) USING p.profile;
        EXCEPTION WHEN undefined_function OR undefined_table OR undefined_column THEN
            -- What is broken is told by other checks of rescore.health, which must not fail with this one.
            NULL;
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION rescore._of_profiles(text) IS
    'The rows that a generated function without arguments returns for each profile, by what follows the two underscores.';

CREATE OR REPLACE FUNCTION rescore.coming()
RETURNS TABLE (profile text, event text, customers bigint, earliest timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT o.profile, c.source, c.customers, c.earliest
    FROM rescore._of_profiles('coming') AS o
    CROSS JOIN LATERAL jsonb_to_record(o.told) AS c (source text, customers bigint, earliest timestamptz)
    WHERE c.customers > 0
$$;
COMMENT ON FUNCTION rescore.coming() IS
    'Customers with events of the future, by profile and event, and when the earliest is due; it reads each profile table once.';
