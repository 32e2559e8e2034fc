-- What errors of class RS are made of, the lock of all publishers, and the record of failed scores.
-- Calls: rescore._defines of 035_deployment. Tables: reads rescore.deployments, rescore.profiles; writes rescore.incident_log.

CREATE OR REPLACE FUNCTION rescore._lock()
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT pg_advisory_xact_lock(hashtextextended('rescore.publish', 0)) $$;
COMMENT ON FUNCTION rescore._lock() IS
    'Takes, until the transaction ends, the one lock of all who replace generated functions.';

CREATE OR REPLACE FUNCTION rescore._listed(names text[])
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN coalesce(cardinality(names), 0) = 0 THEN 'none'
                ELSE array_to_string(names[1:20], ', ')
                     || CASE WHEN cardinality(names) > 20
                             THEN format(' and %s more', cardinality(names) - 20) ELSE '' END END
$$;
COMMENT ON FUNCTION rescore._listed(text[]) IS 'Names for a message: the first twenty, and how many more.';

CREATE OR REPLACE FUNCTION rescore._near(name text, names text[])
RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- Shared pairs of letters: the same measure as a trigram's, without the extension.
    SELECT coalesce(array_agg(n ORDER BY shared DESC, n), '{}')
    FROM (SELECT n, (SELECT count(*) FROM generate_series(1, length(_near.name) - 1) AS i
                     WHERE strpos(lower(n), lower(substr(_near.name, i, 2))) > 0) AS shared
          FROM unnest(names) AS n) AS measured
    WHERE shared * 5 >= 3 * (greatest(length(_near.name), 2) - 1)
$$;
COMMENT ON FUNCTION rescore._near(text, text[]) IS 'Those of the names that look like the one given, best first.';

CREATE OR REPLACE FUNCTION rescore._unknown_model(model text)
RETURNS double precision
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    left_by text := (SELECT d.profile FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
                     WHERE d.model = _unknown_model.model AND NOT rescore._defines(p.definition, d.model));
    known text[];
BEGIN
    IF left_by IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RS001', MESSAGE = format('model %s is no longer defined', quote_ident(model)),
            DETAIL = format('Profile %s was applied without it; its versions and snapshots stayed.', left_by),
            HINT = 'Define it again, and run `rescore apply`.';
    END IF;
    known := (SELECT array_agg(d.model ORDER BY d.model) FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
              WHERE rescore._defines(p.definition, d.model));
    RAISE EXCEPTION USING ERRCODE = 'RS001', MESSAGE = format('unknown model %s', coalesce(quote_ident(model), 'NULL')),
        DETAIL = format('Known models: %s.', rescore._listed(known)),
        HINT = 'Name one of these, or run `rescore apply` with a definition that has it.';
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION rescore._unknown_model(text) IS 'Raises RS001: that a model is no longer defined, or which models there are.';

CREATE OR REPLACE FUNCTION rescore._profile(profile text)
RETURNS rescore.profiles
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found rescore.profiles;
    known text[];
BEGIN
    SELECT * INTO found FROM rescore.profiles AS p WHERE p.profile = _profile.profile;
    IF found.profile IS NULL THEN
        known := (SELECT array_agg(p.profile ORDER BY p.profile) FROM rescore.profiles AS p);
        RAISE EXCEPTION USING ERRCODE = 'RS008', MESSAGE = format('unknown profile %s', coalesce(quote_ident(_profile.profile), 'NULL')),
            DETAIL = format('Known profiles: %s.', rescore._listed(known)),
            HINT = 'Name one of these, or run `rescore apply` with its definition.';
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION rescore._profile(text) IS 'The row of a profile; RS008 when there is none.';

CREATE OR REPLACE FUNCTION rescore._without_values(sqlstate text, message text, context text, OUT message_only text, OUT places text)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- Errors of class 42 and rescore's own name columns and functions; all others may quote what was in the row.
    -- Of the context, where it was raised: other lines quote input, such as a line of COPY or of JSON.
    SELECT CASE WHEN asked OR sqlstate ~ '^(42|RS)' THEN message
                ELSE regexp_replace(message, '"[^"]*"|''[^'']*''|[-+]?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?', '...', 'g') END,
           CASE WHEN asked THEN context
                ELSE (SELECT string_agg(l.line, E'\n' ORDER BY l.n) FROM string_to_table(context, E'\n') WITH ORDINALITY AS l (line, n)
                      WHERE l.n = 1 OR l.line ~ '^(PL/pgSQL|PL/Python|SQL) function ') END
    FROM coalesce(current_setting('rescore.incident_values', true) = 'on', false) AS asked
$$;
COMMENT ON FUNCTION rescore._without_values(text, text, text) IS
    'An error''s message and context without what may be values of a row, unless the setting rescore.incident_values asks for them.';

CREATE OR REPLACE FUNCTION rescore._incident(profile text, model text, version integer, sqlstate text, message text, context text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Not the message: it may hold the row's values, and one cause must not fill the log.
    digest text := md5(concat_ws(E'\n', coalesce(profile, ''), coalesce(model, ''), coalesce(version, 0),
                                 sqlstate, split_part(coalesce(context, ''), E'\n', 1)));
BEGIN
    -- Known and open, as in all but the first failure: one index look-up, no write.
    IF EXISTS (SELECT FROM rescore.incident_log AS i WHERE i.cause = digest AND i.resolved_at IS NULL) THEN
        RETURN;
    END IF;
    -- Whose transaction is open may take its time to commit: nobody waits for it here. Should it roll back,
    -- the next failure records the cause; scores left behind are marked stale all the same.
    IF NOT pg_try_advisory_xact_lock(hashtextextended('rescore.incident ' || digest, 0)) THEN
        RETURN;
    END IF;
    INSERT INTO rescore.incident_log AS i (cause, profile, model, version, sqlstate, message, context)
    SELECT digest, _incident.profile, _incident.model, _incident.version, _incident.sqlstate, coalesce(w.message_only, ''), w.places
    FROM rescore._without_values(sqlstate, message, context) AS w
    ON CONFLICT (cause) DO UPDATE SET resolved_at = NULL, message = excluded.message, context = excluded.context
        WHERE i.resolved_at IS NOT NULL;
END
$$;
COMMENT ON FUNCTION rescore._incident(text, text, integer, text, text, text) IS
    'Records why a score failed: one row per profile, model, version, SQLSTATE and place; a resolved one that comes back is open again.';

CREATE OR REPLACE FUNCTION rescore._of_label(i rescore.incident_log)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT i.version IS NULL AND coalesce(strpos(i.context, '__outcomes(') > 0, false) $$;
COMMENT ON FUNCTION rescore._of_label(rescore.incident_log) IS
    'Whether an incident is that of a label which cannot be told of somebody, rather than of a score.';
