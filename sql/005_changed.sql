-- Functions of earlier versions whose result was another: CREATE OR REPLACE cannot change it.
-- Drops them, to be made anew by the files that follow. Calls nothing; reads the catalogue.
DO $$
DECLARE
    old regprocedure;
BEGIN
    FOR old IN
        SELECT to_regprocedure(f.signature)
        FROM (VALUES ('rescore._wanted_routers(text,jsonb)', 'TABLE(name text, arguments text[], types text[], suffix text, role text)')) AS f (signature, result)
        WHERE pg_get_function_result(to_regprocedure(f.signature)) <> f.result
    LOOP
        EXECUTE format('DROP FUNCTION %s', old);
    END LOOP;
END
$$;
