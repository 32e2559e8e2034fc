-- Functions of earlier versions whose result was another: CREATE OR REPLACE cannot change it. And those that take
-- more arguments now (no result). Drops them, to be made anew by the files that follow. Calls nothing; reads the catalogue.
DO $$
DECLARE
    old regprocedure;
BEGIN
    FOR old IN
        SELECT to_regprocedure(f.signature)
        FROM (VALUES ('rescore._wanted_routers(text,jsonb)', 'TABLE(name text, arguments text[], types text[], suffix text, role text)'),
                     ('rescore._learn_lock(text,xid8,bigint,integer)', '')) AS f (signature, result)
        WHERE pg_get_function_result(to_regprocedure(f.signature)) <> f.result
    LOOP
        EXECUTE format('DROP FUNCTION %s', old);
    END LOOP;
END
$$;
