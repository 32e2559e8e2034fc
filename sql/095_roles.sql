-- Who owns what, and who may do what: the only place that grants.
-- Calls: 079_tables. Tables: reads rescore.profiles and the catalogue; changes owners and privileges.
--
-- Three group roles of the whole cluster: rescore_reader reads and scores, rescore_trainer also reads
-- examples and publishes, rescore_admin also defines. PUBLIC has nothing. Beside them there are the
-- owners of profile tables, as whom triggers run ("definers" below).

CREATE OR REPLACE FUNCTION rescore._roles()
RETURNS TABLE (role text, level integer, oid oid, problem text)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- A role that can log in is somebody: taken by name, it would be given what nobody meant to give.
    SELECT w.role, w.level, r.oid, CASE
        WHEN r.oid IS NULL THEN 'does not exist'
        WHEN r.rolcanlogin THEN 'can log in'
        WHEN r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolreplication THEN 'has rights of its own on the whole server' END
    FROM (VALUES ('rescore_reader', 1), ('rescore_trainer', 2), ('rescore_admin', 3)) AS w (role, level)
    LEFT JOIN pg_roles AS r ON r.rolname = w.role
$$;
COMMENT ON FUNCTION rescore._roles() IS
    'The group roles of rescore, each with what keeps it from being granted anything; NULL when nothing does.';

CREATE OR REPLACE FUNCTION rescore._rights()
RETURNS TABLE (kind text, level integer, definers boolean, privileges text[], names text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- level: 1 all three roles, 2 trainer and admin, 3 admin, 4 none of them. What is not named here is its owner's.
    VALUES
    ('schema', 1, true, '{USAGE}'::text[], '{rescore,rescore_compiled}'::text[]),
    ('relation', 1, false, '{SELECT}', '{model_version,model_status,model_quality,live_quality,early_outcomes,uplift,health,outbox_lag,queue_lag,feature_drift,served_quality}'),
    -- An incident's message may quote a row; a model's artefact and a definition are not for every reader.
    ('relation', 2, false, '{SELECT}', '{profiles,deployments,models,deployment_history,incident_log,incidents,sweeps,snapshots,snapshot_rounds}'),
    ('relation', 2, false, '{SELECT,INSERT,UPDATE}', '{alerts,judgements}'),
    ('relation', 2, false, '{SELECT,DELETE}', '{relabelled}'),
    ('relation', 2, false, '{SELECT,INSERT,UPDATE,DELETE}', '{runner_jobs}'),
    ('relation', 2, false, '{SELECT}', '{learning,learn_log,lineage,learn_requests,released,drift_log,quarantined}'),
    ('relation', 4, true, '{SELECT,INSERT,UPDATE,DELETE}', '{removed_keys,queue}'),
    ('relation', 4, true, '{INSERT}', '{outbox,snapshots}'),
    ('relation', 4, true, '{SELECT}', '{tombstones,folds}'),
    ('relation', 3, false, '{SELECT}', '{python_path}'),
    ('function', 1, false, '{EXECUTE}', '{predict,predict_key,predict_payload,explain,coming,staleness,table_problems,trigger_problems}'),
    -- What these call: helpers run as their caller and write nothing, the others tell of models and profiles.
    ('function', 1, true, '{EXECUTE}', '{helper,clock,decayed,share,_reads,_python_score,_python_scores}'),
    ('function', 1, false, '{EXECUTE}', '{_unknown_model,_clock_of,_source,_is_queued,_outbox_is_here,_upkeep,_dead_rows,_partition_problems,_quiet_triggers,_overdue,_starved}'),
    ('function', 2, false, '{EXECUTE}', '{publish,publish_linear,promote,rollback,sweep,fold,verify_model,snapshot,log_snapshots,resolve}'),
    ('function', 2, false, '{EXECUTE}', '{challenge,shadow,demote}'),
    ('function', 2, false, '{EXECUTE}', '{quarantine,release,request_learning,_answer_undefined,_ended,_learn_lock,_learn_record,_record_lineage,_drift_record,_append_row,_joined}'),
    ('function', 2, false, '{EXECUTE}', '{_profile,_definers,_watched,_triggers,_is_paused,_require_running,_sweep_begin,_sweep_step,_sweep_leave,_fold_step,_waiting}'),
    ('function', 2, false, '{EXECUTE}', '{_snapshot_begin,_snapshot_step,_snapshot_tend,_resolve_step,_check_step,_check_due,explain_snapshot}'),
    ('function', 3, false, '{EXECUTE}', '{verify,rebuild,pause,resume,_note_pause,_queue_ids,_unqueue,_meet,_watched_tables,forget,remember,left_behind,drop_model,_prove,_artefact_contract,_signer,_python_start,_create_router,_touch,_lock}'),
    -- A consumer of the outbox is granted these by name: it is told of every customer.
    ('function', 3, false, '{EXECUTE}', '{outbox_register,outbox_read,outbox_ack,outbox_drop,outbox_prune}'),
    ('function', 4, true, '{EXECUTE}', '{_incident,_forgotten}'),
    -- By what follows the two underscores; '' are routers and versions.
    ('compiled', 1, true, '{EXECUTE}', '{"",only}'),
    ('compiled', 1, false, '{EXECUTE}', '{key,key_with,as_of,live}'),
    ('compiled', 2, false, '{EXECUTE}', '{outcomes,outcomes_begin}'),
    -- These see every row, as the owner of the profile: what calls them says who may.
    ('compiled', 3, false, '{EXECUTE}', '{keys,bounds,rescore,rescore_unlocked,recompute,recount,differences,come_back,coming,fold,snapshot,forget,staleness}')
$$;
COMMENT ON FUNCTION rescore._rights() IS
    'What each level of roles, and the owners of profile tables, may do with which objects: everything else is their owner''s alone.';

CREATE OR REPLACE FUNCTION rescore._part(compiled text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(substring(compiled FROM '__+([^_].*)$'), '') $$;
COMMENT ON FUNCTION rescore._part(text) IS 'What follows the two underscores in the name of a generated function; empty for routers and versions.';

CREATE OR REPLACE FUNCTION rescore._objects(only_objects oid[])
RETURNS TABLE (kind text, name text, oid oid, shown text, owner oid, acl aclitem[])
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'schema', n.nspname::text, n.oid, format('SCHEMA %I', n.nspname), n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner))
    FROM pg_namespace AS n WHERE n.nspname IN ('rescore', 'rescore_compiled') AND (only_objects IS NULL OR n.oid = ANY (only_objects))
    UNION ALL
    SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'relation' END, c.relname, c.oid,
           format(CASE c.relkind WHEN 'S' THEN 'SEQUENCE %I.%I' ELSE 'TABLE %I.%I' END, n.nspname, c.relname), c.relowner,
           coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('rescore', 'rescore_compiled') AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
      AND (only_objects IS NULL OR c.oid = ANY (only_objects))
    UNION ALL
    SELECT CASE n.nspname WHEN 'rescore' THEN 'function' ELSE 'compiled' END,
           CASE WHEN n.nspname <> 'rescore' THEN rescore._part(p.proname)
                WHEN p.proname ~ '^_' AND NOT p.prosecdef AND p.provolatile <> 'v' AND l.lanpltrusted THEN 'helper' ELSE p.proname END, p.oid,
           format('ROUTINE %s', p.oid::regprocedure), p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang
    WHERE n.nspname IN ('rescore', 'rescore_compiled') AND (only_objects IS NULL OR p.oid = ANY (only_objects))
$$;
COMMENT ON FUNCTION rescore._objects(oid[]) IS
    'These objects of rescore, all when NULL, as GRANT and ALTER name it, with its owner and privileges; generated functions under what follows their two underscores, helpers as helper.';

CREATE OR REPLACE FUNCTION rescore._objects()
RETURNS TABLE (kind text, name text, oid oid, shown text, owner oid, acl aclitem[])
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM rescore._objects(NULL::oid[]) $$;
COMMENT ON FUNCTION rescore._objects() IS 'Every object of rescore: see rescore._objects(oid[]).';

CREATE OR REPLACE FUNCTION rescore._definers()
RETURNS TABLE (profile text, part text, function oid, owner oid, definer oid)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.profile, rescore._part(f.proname), f.oid, f.proowner, c.relowner
    FROM rescore.profiles AS p
    JOIN pg_class AS c ON c.oid = rescore._table(format('%I.%I', p.table_schema, p.table_name))
    JOIN pg_proc AS f ON f.pronamespace = 'rescore_compiled'::regnamespace AND starts_with(f.proname, p.slug || '__')
    WHERE f.prosecdef
$$;
COMMENT ON FUNCTION rescore._definers() IS
    'Every generated function that runs as its owner, with that owner and the one it should have: the profile table''s.';

CREATE OR REPLACE FUNCTION rescore._owner_problems(definer oid, tables oid[], links oid[])
RETURNS TABLE (problem text, hint text)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH d AS (SELECT r.rolname, r.rolsuper OR r.rolbypassrls AS passes FROM pg_roles AS r WHERE r.oid = definer),
         t AS (SELECT c.oid, c.oid::regclass AS shown, c.relowner, pg_get_userbyid(c.relowner) AS owned_by, n.nspname,
                      c.oid = ANY (links) AS is_link, c.relrowsecurity, c.relforcerowsecurity
               FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = ANY (tables || links))
    SELECT format('table %s belongs to %I, its profile to %I', t.shown, t.owned_by, d.rolname),
           format('Give them one owner, or let the one act as the other: GRANT %I TO %I;', d.rolname, t.owned_by)
    FROM t CROSS JOIN d WHERE NOT pg_has_role(t.relowner, definer, 'MEMBER')
    UNION ALL
    SELECT format('%I may not %s table %s', d.rolname, CASE WHEN t.is_link THEN 'read and lock' ELSE 'read' END, t.shown),
           format('GRANT USAGE ON SCHEMA %I TO %I; GRANT SELECT%s ON %s TO %2$I;', t.nspname, d.rolname,
                  CASE WHEN t.is_link THEN ', UPDATE' ELSE '' END, t.shown)
    FROM t CROSS JOIN d
    WHERE NOT (has_schema_privilege(definer, t.nspname, 'USAGE') AND has_table_privilege(definer, t.oid, 'SELECT')
               AND (NOT t.is_link OR has_table_privilege(definer, t.oid, 'UPDATE')))
    UNION ALL
    SELECT format('row-level security would keep rows of table %s from %I', t.shown, d.rolname),
           format('Counters need every row: let %I own the table without FORCE ROW LEVEL SECURITY, or ALTER ROLE %1$I BYPASSRLS;', d.rolname)
    FROM t CROSS JOIN d
    WHERE t.relrowsecurity AND NOT d.passes AND (t.relforcerowsecurity OR NOT pg_has_role(definer, t.relowner, 'USAGE'))
$$;
COMMENT ON FUNCTION rescore._owner_problems(oid, oid[], oid[]) IS
    'Why triggers on these tables (and on these that link) should not run, or cannot work, as a role: an owner of a table could run code as the role, or the role does not see every row.';

CREATE OR REPLACE FUNCTION rescore._deferred(tables oid[])
RETURNS TABLE (name text)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- Until PostgreSQL 18 they run as the role that commits, not as the one whose function wrote the row.
    SELECT format('%I on %s', t.tgname, t.tgrelid::regclass)
    FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_roles AS r ON r.oid = c.relowner
    WHERE t.tgrelid = ANY (tables) AND t.tgdeferrable AND NOT t.tgisinternal AND NOT r.rolsuper
      AND current_setting('server_version_num')::integer < 180000
$$;
COMMENT ON FUNCTION rescore._deferred(oid[]) IS
    'Deferrable triggers on tables of owners who are no superusers, where the server runs them as whoever commits.';

CREATE OR REPLACE FUNCTION rescore._wanted_grants(only_objects oid[])
RETURNS TABLE (shown text, owner oid, grantee oid, privilege text, wanted boolean)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH o AS MATERIALIZED (SELECT * FROM rescore._objects(only_objects) AS o),
         everybody AS (
             SELECT r.oid, r.level, false AS definer FROM rescore._roles() AS r WHERE r.problem IS NULL
             UNION SELECT n.nspowner, 3, false FROM pg_namespace AS n WHERE n.nspname = 'rescore_compiled'
             UNION SELECT d.owner, 0, true FROM rescore._definers() AS d),
         wanted AS (
             SELECT DISTINCT o.shown, o.owner, e.oid AS grantee, p.privilege
             FROM o JOIN rescore._rights() AS w ON w.kind = o.kind AND o.name = ANY (w.names)
             JOIN everybody AS e ON e.level >= w.level OR (e.definer AND w.definers)
             CROSS JOIN LATERAL unnest(w.privileges) AS p (privilege)
             WHERE e.oid <> o.owner),
         -- What others were granted by name is theirs to keep.
         present AS (
             SELECT o.shown, o.owner, a.grantee, a.privilege_type AS privilege
             FROM o CROSS JOIN LATERAL aclexplode(o.acl) AS a
             WHERE a.grantee <> o.owner AND (a.grantee = 0 OR a.grantee IN (SELECT r.oid FROM rescore._roles() AS r)
                                             OR a.grantee IN (SELECT e.oid FROM everybody AS e)))
    SELECT w.*, true FROM (SELECT * FROM wanted EXCEPT SELECT * FROM present) AS w
    UNION ALL
    SELECT p.*, false FROM (SELECT * FROM present EXCEPT SELECT * FROM wanted) AS p
$$;
COMMENT ON FUNCTION rescore._wanted_grants(oid[]) IS
    'What is to be granted (wanted) or revoked (not wanted) for these objects, or for all when NULL.';

CREATE OR REPLACE FUNCTION rescore._grant(only_objects oid[])
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d record;
BEGIN
    FOR d IN SELECT g.*, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END AS name
             FROM rescore._wanted_grants(only_objects) AS g
             WHERE pg_has_role(current_user, g.owner, 'USAGE') ORDER BY g.shown, g.wanted, g.grantee, g.privilege
    LOOP
        EXECUTE format(CASE WHEN d.wanted THEN 'GRANT %s ON %s TO %s' ELSE 'REVOKE %s ON %s FROM %s' END,
                       d.privilege, d.shown, d.name);
    END LOOP;
END
$$;
COMMENT ON FUNCTION rescore._grant(oid[]) IS
    'Brings the privileges on these objects, or on all when NULL, to what rescore._rights says; grants to other roles are left alone.';

CREATE OR REPLACE FUNCTION rescore._watched()
RETURNS TABLE (profile text, definer oid, tables oid[], links oid[])
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.profile, c.relowner, array_agg(DISTINCT t.oid) || c.oid, coalesce(array_agg(DISTINCT t.oid) FILTER (WHERE t.is_link), '{}')
    FROM rescore.profiles AS p
    JOIN pg_class AS c ON c.oid = rescore._table(format('%I.%I', p.table_schema, p.table_name))
    LEFT JOIN LATERAL (SELECT rescore._table(format('%I.%I', g.v ->> 0, g.v ->> 1)) AS oid,
                              coalesce(starts_with(g.v ->> 2, format('rescore_%s__link_', p.slug)), false) AS is_link
                       FROM (SELECT p.plan -> 'triggers' UNION ALL SELECT p.plan -> 'reads') AS f (v)
                       CROSS JOIN LATERAL jsonb_array_elements(coalesce(f.v, '[]')) AS g (v)) AS t ON t.oid IS NOT NULL
    GROUP BY p.profile, c.relowner, c.oid
$$;
COMMENT ON FUNCTION rescore._watched() IS
    'Every profile with its table''s owner and the tables its triggers are on, or its labels and treatments read.';

CREATE OR REPLACE FUNCTION rescore._wanted_owners()
RETURNS TABLE (shown text, owner oid, wanted oid)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH r AS (SELECT n.nspowner AS oid FROM pg_namespace AS n WHERE n.nspname = 'rescore'),
         -- As the profile's owner only where that is safe and its triggers then work; else as before.
         profile AS (SELECT w.profile, w.definer FROM rescore._watched() AS w
                     WHERE NOT EXISTS (SELECT FROM rescore._owner_problems(w.definer, w.tables, w.links)))
    SELECT o.shown, o.owner, CASE WHEN f.function IS NULL THEN r.oid ELSE coalesce(p.definer, o.owner) END
    FROM rescore._objects() AS o CROSS JOIN r
    LEFT JOIN rescore._definers() AS f ON f.function = o.oid AND o.kind = 'compiled'
    LEFT JOIN profile AS p ON p.profile = f.profile
    WHERE o.kind <> 'schema'
      AND NOT (o.kind = 'relation' AND o.name = 'python_path' AND EXISTS (SELECT FROM pg_roles AS u WHERE u.oid = o.owner AND u.rolsuper))
      -- The sequence of an identity column goes with its table.
      AND NOT (o.kind = 'sequence' AND EXISTS (SELECT FROM pg_depend AS i WHERE i.classid = 'pg_class'::regclass
                                               AND i.objid = o.oid AND i.deptype IN ('a', 'i')))
$$;
COMMENT ON FUNCTION rescore._wanted_owners() IS
    'Who should own each object: what runs as its owner on a profile''s tables the owner of the profile, all else the owner of the schema, what runs Python too: run as a superuser it would call what that owner can replace. Where Python looks for code stays a superuser''s.';

CREATE OR REPLACE FUNCTION rescore._give()
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    admin oid := (SELECT r.oid FROM rescore._roles() AS r WHERE r.role = 'rescore_admin' AND r.problem IS NULL);
    is_super boolean := (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user);
    s record;
BEGIN
    -- From a superuser, or by who is an administrator already: nobody else loses what was theirs.
    FOR s IN SELECT n.nspname, pg_get_userbyid(admin) AS to_role FROM pg_namespace AS n JOIN pg_roles AS r ON r.oid = n.nspowner
             WHERE n.nspname IN ('rescore', 'rescore_compiled') AND n.nspowner <> admin
               AND ((is_super AND r.rolsuper) OR (r.rolname = current_user AND pg_has_role(current_user, admin, 'MEMBER')))
    LOOP
        EXECUTE format('ALTER SCHEMA %I OWNER TO %I', s.nspname, s.to_role);
    END LOOP;
    -- Publishing rewrites the predict function of each profile: to name it, one must see the schema of its table.
    FOR s IN SELECT DISTINCT n.nspname, r.nspowner::regrole AS to_role,
                    has_schema_privilege(n.oid, 'USAGE WITH GRANT OPTION') AS may_grant
             FROM rescore.profiles AS p JOIN pg_namespace AS n ON n.nspname = p.table_schema
             JOIN pg_namespace AS r ON r.nspname = 'rescore' WHERE NOT has_schema_privilege(r.nspowner, n.oid, 'USAGE')
    LOOP
        IF NOT s.may_grant THEN
            RAISE EXCEPTION USING ERRCODE = 'RS016', MESSAGE = format('%s may not use schema %I', s.to_role, s.nspname),
                DETAIL = 'The owner of schema rescore must see the schema of each profile table.',
                HINT = format('Have the owner of the schema run: GRANT USAGE ON SCHEMA %I TO %s;', s.nspname, s.to_role);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %s', s.nspname, s.to_role);
    END LOOP;
    FOR s IN SELECT w.shown, pg_get_userbyid(w.wanted) AS to_role, is_super OR has_schema_privilege(w.wanted, 'rescore_compiled', 'CREATE') AS may_own
             FROM rescore._wanted_owners() AS w
             WHERE w.owner <> w.wanted AND pg_has_role(current_user, w.owner, 'USAGE') AND pg_has_role(current_user, w.wanted, 'MEMBER')
    LOOP
        -- PostgreSQL wants this of the new owner unless a superuser gives; nobody sees it in between.
        IF NOT s.may_own THEN
            EXECUTE format('GRANT CREATE ON SCHEMA rescore_compiled TO %I', s.to_role);
        END IF;
        EXECUTE format('ALTER %s OWNER TO %I', s.shown, s.to_role);
        IF NOT s.may_own THEN
            EXECUTE format('REVOKE CREATE ON SCHEMA rescore_compiled FROM %I', s.to_role);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION rescore._give() IS
    'Gives every object to the owner it should have, as far as the caller may: see rescore._wanted_owners; shows that owner the schemas of the profile tables.';

CREATE OR REPLACE FUNCTION rescore._secure()
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT rescore._give(); SELECT rescore._grant(NULL::oid[]) $$;
COMMENT ON FUNCTION rescore._secure() IS
    'Owners first, then privileges: what `rescore install` and `rescore apply` end with.';
