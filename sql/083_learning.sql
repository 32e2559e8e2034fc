-- Learning: the one transaction in which a round of it ends, quarantine and release, requests.
-- Calls: 010_errors, 017_cluster, _defines of 035_deployment, _deployment of 050_register, _note_relabelled of 077_relabelled. Tables: reads rescore.deployments, rescore.profiles; reads and writes rescore.learning,
-- rescore.learn_log, rescore.lineage, rescore.learn_requests, rescore.released, rescore.drift_log; writes rescore.snapshots.

CREATE OR REPLACE FUNCTION rescore._learn_lock(model text, watermark_xid xid8, watermark_id bigint, champion integer, seen xid)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deployment rescore.deployments := rescore._deployment(model);
    state record;
    is_first boolean;
BEGIN
    INSERT INTO rescore.learning (model) VALUES (model) ON CONFLICT ON CONSTRAINT learning_pkey DO NOTHING;
    is_first := FOUND;
    SELECT l.watermark_xid, l.watermark_id, l.xmin AS written INTO state FROM rescore.learning AS l WHERE l.model = _learn_lock.model FOR UPDATE;
    IF (state.watermark_xid, state.watermark_id) IS DISTINCT FROM (watermark_xid, watermark_id)
       OR deployment.champion IS DISTINCT FROM champion THEN
        RAISE EXCEPTION USING ERRCODE = 'RS018', MESSAGE = format('model %s has changed while it was learnt', model),
            DETAIL = format('Its watermark is %s/%s, %s/%s was expected; version %s serves, %s was expected.', state.watermark_xid, state.watermark_id,
                            watermark_xid, watermark_id, coalesce(deployment.champion::text, 'none'), coalesce(champion::text, 'none')),
            HINT = 'Nothing was recorded: learn again.';
    ELSIF NOT is_first AND state.written IS DISTINCT FROM seen THEN
        RAISE EXCEPTION USING ERRCODE = 'RS018', MESSAGE = format('examples of model %s were quarantined while it was learnt', model),
            DETAIL = 'They may have been among those of the round.',
            HINT = 'Nothing was recorded: learn again.';
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._learn_lock(text, xid8, bigint, integer, xid) IS
    'Keeps all other publishers and trainers from a model until the transaction ends; RS018 when it is not where the round began, or what it learnt may have been quarantined since.';

CREATE OR REPLACE FUNCTION rescore._record_lineage(model text, version integer, lineage jsonb)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    l record;
BEGIN
    SELECT * INTO l FROM jsonb_to_record(lineage) AS l (examples bigint, positives bigint, began timestamptz, ended timestamptz,
        known_until timestamptz, watermark_xid text, watermark_id bigint, memory jsonb, reference jsonb, customers bigint);
    INSERT INTO rescore.lineage (model, version, examples, positives, period, known_until, watermark_xid, watermark_id, memory, reference, customers)
    VALUES (model, version, l.examples, l.positives, CASE WHEN l.began IS NOT NULL THEN tstzrange(l.began, l.ended, '[]') END, l.known_until,
            l.watermark_xid::xid8, l.watermark_id, coalesce(l.memory, '{}'), l.reference, l.customers);
END
$$;
COMMENT ON FUNCTION rescore._record_lineage(text, integer, jsonb) IS
    'Keeps with a version what it learnt from, what learning on must know, and what drift is told against.';

CREATE OR REPLACE FUNCTION rescore._quarantine(model text, suspects jsonb)
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH kept AS (
        UPDATE rescore.snapshots AS s SET quarantined = q.reason
        FROM jsonb_to_recordset(suspects) AS q (id bigint, reason text)
        WHERE s.model = _quarantine.model AND s.id = q.id AND s.quarantined IS NULL
        RETURNING s.version, s.serving, s.resolved),
    noted AS MATERIALIZED (
        SELECT rescore._note_relabelled(_quarantine.model, array_agg(DISTINCT k.version) FILTER (WHERE k.serving = 'champion' AND k.resolved IS NOT NULL))
        FROM kept AS k)
    SELECT (SELECT count(*) FROM kept) FROM noted
$$;
COMMENT ON FUNCTION rescore._quarantine(text, jsonb) IS 'Keeps snapshots, each with its reason, out of learning; returns how many.';

CREATE OR REPLACE FUNCTION rescore._known_at(model text)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    -- What was released has been given a new place, and keeps the moment at which it was resolved.
    SELECT s.resolved_at FROM rescore.snapshots AS s
    WHERE s.model = _known_at.model AND s.resolved IS NOT NULL
      AND NOT EXISTS (SELECT FROM rescore.released AS r WHERE r.model = s.model AND r.id = s.id)
    ORDER BY s.resolved DESC, s.id DESC LIMIT 1
$$;
COMMENT ON FUNCTION rescore._known_at(text) IS
    'How far the profile''s clock has come, as a model''s outcomes tell: the moment at which one last became known; NULL before the first.';

CREATE OR REPLACE FUNCTION rescore._learn_record(model text, round jsonb)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r record;
    logged bigint;
    clock jsonb := jsonb_strip_nulls(jsonb_build_object('clock', rescore._known_at(model)));
BEGIN
    SELECT * INTO r FROM jsonb_to_record(round) AS r (parent integer, version integer, line integer, examples bigint, positives bigint,
        skipped jsonb, began timestamptz, ended timestamptz, from_xid text, from_id bigint, to_xid text, to_id bigint,
        metrics jsonb, action text, reasons jsonb, memory jsonb, suspects jsonb, requests bigint);
    PERFORM rescore._quarantine(model, coalesce(r.suspects, '[]'));
    UPDATE rescore.learning AS l
    SET watermark_xid = r.to_xid::xid8, watermark_id = r.to_id, line = r.line, memory = coalesce(r.memory, '{}'), updated_at = now(),
        champion = (SELECT d.champion FROM rescore.deployments AS d WHERE d.model = _learn_record.model)
    WHERE l.model = _learn_record.model;
    UPDATE rescore.learn_requests AS q SET done_at = now()
    WHERE q.model = _learn_record.model AND q.done_at IS NULL AND q.id <= r.requests;
    -- The same answer to the same question again is the same row; how often it was asked counts where outcomes came in between.
    UPDATE rescore.learn_log AS g
    SET at = now(), metrics = coalesce(r.metrics, '{}') || clock
        || jsonb_build_object('rounds', coalesce((g.metrics ->> 'rounds')::bigint, 1) + ((g.metrics ->> 'clock')::timestamptz IS DISTINCT FROM (clock ->> 'clock')::timestamptz)::integer)
    WHERE g.id = (SELECT max(o.id) FROM rescore.learn_log AS o WHERE o.model = _learn_record.model)
      AND r.version IS NULL AND (g.to_xid, g.to_id, g.action, g.reasons) = (r.to_xid::xid8, r.to_id, r.action, r.reasons)
    RETURNING g.id INTO logged;
    IF logged IS NULL THEN
        INSERT INTO rescore.learn_log (model, parent, version, examples, positives, skipped, period, from_xid, from_id, to_xid, to_id, metrics, action, reasons)
        VALUES (model, r.parent, r.version, r.examples, r.positives, coalesce(r.skipped, '{}'),
                CASE WHEN r.began IS NOT NULL THEN tstzrange(r.began, r.ended, '[]') END,
                r.from_xid::xid8, r.from_id, r.to_xid::xid8, r.to_id, coalesce(r.metrics, '{}') || clock, r.action, coalesce(r.reasons, '[]'))
        RETURNING id INTO logged;
    END IF;
    RETURN logged;
END
$$;
COMMENT ON FUNCTION rescore._learn_record(text, jsonb) IS
    'Ends a round of learning: watermark, memory, quarantine, answered requests, and one row of the log, whose metrics hold how far the profile''s clock had come (clock), and how many rounds the row stands for (rounds; 1 where it is not there); returns its id.';

CREATE OR REPLACE FUNCTION rescore._drift_record(model text, version integer, columns jsonb)
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM rescore.drift_log AS d WHERE d.model = _drift_record.model
      AND NOT EXISTS (SELECT FROM jsonb_to_recordset(columns) AS c (feature text) WHERE c.feature = d.feature);
    INSERT INTO rescore.drift_log (model, feature, version, at, period, examples, numbers, changed_at)
    SELECT _drift_record.model, c.feature, _drift_record.version, now(), tstzrange(c.began, c.ended, '[]'), c.examples, c.numbers, c.changed_at
    FROM jsonb_to_recordset(columns) AS c (feature text, began timestamptz, ended timestamptz, examples bigint, numbers jsonb, changed_at timestamptz)
    ON CONFLICT (model, feature) DO UPDATE
    SET version = excluded.version, at = excluded.at, period = excluded.period, examples = excluded.examples,
        numbers = excluded.numbers, changed_at = excluded.changed_at
$$;
COMMENT ON FUNCTION rescore._drift_record(text, integer, jsonb) IS 'Replaces what is known of the drift of a model''s columns.';

CREATE OR REPLACE FUNCTION rescore._check_model(model text)
RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM rescore.deployments AS d WHERE d.model = _check_model.model) THEN
        PERFORM rescore._unknown_model(model);
    END IF;
END
$$;
COMMENT ON FUNCTION rescore._check_model(text) IS 'Raises RS001 when there is no such model.';

CREATE OR REPLACE FUNCTION rescore.quarantine(model text, ids bigint[], reason text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state rescore.learning;
    suspects jsonb;
BEGIN
    PERFORM rescore._check_model(model);
    IF coalesce(reason, '') !~ '[^[:space:]]' THEN
        RAISE EXCEPTION USING ERRCODE = 'RS020', MESSAGE = 'quarantine without a reason',
            DETAIL = 'Whoever releases the snapshots must know why they were kept out.', HINT = 'Pass a sentence.';
    END IF;
    INSERT INTO rescore.learning (model) VALUES (model) ON CONFLICT ON CONSTRAINT learning_pkey DO NOTHING;
    -- Written, not only locked: a round that is under way, and may be learning them, is told to begin again.
    UPDATE rescore.learning AS l SET model = l.model WHERE l.model = quarantine.model RETURNING l.* INTO state;
    SELECT jsonb_agg(jsonb_build_object('id', s.id, 'reason',
               CASE WHEN (s.resolved, s.id) <= (state.watermark_xid, state.watermark_id) THEN 'learnt: ' ELSE '' END
               -- Only what was learnt may say so: rescore.release goes by it.
               || regexp_replace(reason, '^(learnt: )+', '')))
    INTO suspects FROM rescore.snapshots AS s WHERE s.model = quarantine.model AND s.id = ANY (ids);
    RETURN rescore._quarantine(model, coalesce(suspects, '[]'));
END
$$;
COMMENT ON FUNCTION rescore.quarantine(text, bigint[], text) IS
    'Keeps snapshots out of learning, gates and quality until they are released; returns how many. The reason of those learnt already begins with "learnt: ".';

CREATE OR REPLACE FUNCTION rescore.release(model text, ids bigint[] DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    freed bigint[];
    judged integer[];
    here xid8 := rescore._transaction();
BEGIN
    PERFORM rescore._check_model(model);
    WITH changed AS (
        UPDATE rescore.snapshots AS s
        -- Past every watermark, since they were passed over: they are learnt now, once.
        SET quarantined = NULL, resolved = CASE WHEN s.resolved IS NULL OR starts_with(s.quarantined, 'learnt: ') THEN s.resolved ELSE here END
        WHERE s.model = release.model AND s.quarantined IS NOT NULL AND (ids IS NULL OR s.id = ANY (ids))
        RETURNING s.id, s.version, s.serving, s.resolved)
    SELECT array_agg(c.id), array_agg(DISTINCT c.version) FILTER (WHERE c.serving = 'champion' AND c.resolved IS NOT NULL)
    INTO freed, judged FROM changed AS c;
    PERFORM rescore._note_relabelled(model, judged);
    INSERT INTO rescore.released (model, id) SELECT release.model, f.id FROM unnest(freed) AS f (id)
    ON CONFLICT ON CONSTRAINT released_pkey DO NOTHING;
    RETURN coalesce(cardinality(freed), 0);
END
$$;
COMMENT ON FUNCTION rescore.release(text, bigint[]) IS
    'Lets snapshots out of quarantine, all of a model''s or those named, to be learnt whatever they hold; returns how many.';

CREATE OR REPLACE FUNCTION rescore.request_learning(model text, reason text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found record;
    request bigint;
BEGIN
    PERFORM rescore._check_model(model);
    SELECT rescore._defines(p.definition, d.model) AS is_defined, jsonb_typeof(d.spec -> 'learn') = 'object' AS learns INTO found
    FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile WHERE d.model = request_learning.model;
    IF NOT found.is_defined THEN
        PERFORM rescore._unknown_model(model);
    ELSIF found.learns IS NOT TRUE THEN
        RAISE NOTICE 'model % has no `learn` in its definition: `rescore run` passes it over, only `rescore learn` answers', model;
    END IF;
    INSERT INTO rescore.learn_requests (model, reason) VALUES (model, reason) RETURNING id INTO request;
    PERFORM pg_notify('rescore_learn', model);
    RETURN request;
END
$$;
COMMENT ON FUNCTION rescore.request_learning(text, text) IS
    'Asks that a model learn now: `rescore run` is told by NOTIFY and answers at once, or when it is started; returns the request''s id. RS001 when the model is not, or no longer, defined.';

CREATE OR REPLACE FUNCTION rescore._answer_undefined()
RETURNS SETOF text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked record;
    told text;
BEGIN
    FOR asked IN
        SELECT q.model, array_agg(q.id ORDER BY q.id) AS ids FROM rescore.learn_requests AS q
        WHERE q.done_at IS NULL AND NOT EXISTS (
            SELECT FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile
            WHERE d.model = q.model AND rescore._defines(p.definition, d.model))
        GROUP BY 1 ORDER BY 1
    LOOP
        UPDATE rescore.learn_requests AS q SET done_at = now() WHERE q.id = ANY (asked.ids) AND q.done_at IS NULL;
        CONTINUE WHEN NOT FOUND;
        told := format('request %s: the model is no longer defined', array_to_string(asked.ids, ', '));
        INSERT INTO rescore.learn_log (model, examples, positives, from_xid, from_id, to_xid, to_id, action, reasons)
        SELECT asked.model, 0, 0, w.xid, w.id, w.xid, w.id, 'nothing', jsonb_build_array(told)
        FROM (VALUES (asked.model)) AS m (model) LEFT JOIN rescore.learning AS l ON l.model = m.model
        CROSS JOIN LATERAL (SELECT coalesce(l.watermark_xid, '0'), coalesce(l.watermark_id, 0)) AS w (xid, id);
        RETURN NEXT format('%s: %s', asked.model, told);
    END LOOP;
END
$$;
COMMENT ON FUNCTION rescore._answer_undefined() IS
    'Answers requests to learn models that are no longer defined: nothing will be learnt, and the log of learning says why; returns what it says.';

CREATE OR REPLACE VIEW rescore.feature_drift AS
SELECT d.model, d.feature, d.version, d.at, d.examples,
       (d.numbers ->> 'psi')::double precision AS psi, (d.numbers ->> 'psi_by_chance')::double precision AS psi_by_chance,
       (d.numbers ->> 'ks')::double precision AS ks, (d.numbers ->> 'p_value')::double precision AS p_value,
       (d.numbers ->> 'outside')::double precision AS outside,
       (d.numbers ->> 'before')::double precision AS before, (d.numbers ->> 'now')::double precision AS now, d.changed_at
FROM rescore.drift_log AS d;
COMMENT ON VIEW rescore.feature_drift IS 'How far the newest values of each column are from those the serving version learnt from.';
COMMENT ON COLUMN rescore.feature_drift.model IS 'Name of the model';
COMMENT ON COLUMN rescore.feature_drift.feature IS 'Column of the design row; or score, loss, label: as served, its log loss, what came of it';
COMMENT ON COLUMN rescore.feature_drift.version IS 'Version whose training examples it is compared with';
COMMENT ON COLUMN rescore.feature_drift.at IS 'When it was looked at';
COMMENT ON COLUMN rescore.feature_drift.examples IS 'Snapshots compared';
COMMENT ON COLUMN rescore.feature_drift.psi IS 'Population stability index: 0.1 is usually called some, 0.25 much';
COMMENT ON COLUMN rescore.feature_drift.psi_by_chance IS 'What it would be on average if nothing had moved';
COMMENT ON COLUMN rescore.feature_drift.ks IS 'Largest difference of the shares of values below an edge';
COMMENT ON COLUMN rescore.feature_drift.p_value IS 'How often chance alone makes such a difference; on the high side';
COMMENT ON COLUMN rescore.feature_drift.outside IS 'Share of values outside the range of training';
COMMENT ON COLUMN rescore.feature_drift.before IS 'Mean in training';
COMMENT ON COLUMN rescore.feature_drift.now IS 'Mean now';
COMMENT ON COLUMN rescore.feature_drift.changed_at IS 'Moment from which on the streaming detector saw other values; null: it saw no change';

CREATE OR REPLACE VIEW rescore.quarantined AS
SELECT s.model, s.quarantined AS reason, count(*) AS snapshots, pg_catalog.min(s.taken_at) AS first_at, pg_catalog.max(s.taken_at) AS last_at
FROM rescore.snapshots AS s WHERE s.quarantined IS NOT NULL GROUP BY s.model, s.quarantined;
COMMENT ON VIEW rescore.quarantined IS 'Snapshots kept out of learning, by model and reason, until rescore.release lets them in.';
COMMENT ON COLUMN rescore.quarantined.model IS 'Name of the model';
COMMENT ON COLUMN rescore.quarantined.reason IS 'Why they are kept out';
COMMENT ON COLUMN rescore.quarantined.snapshots IS 'How many';
COMMENT ON COLUMN rescore.quarantined.first_at IS 'Moment of the earliest';
COMMENT ON COLUMN rescore.quarantined.last_at IS 'Moment of the latest';
