-- The least that the server-side functions need, without the rest of rescore.
-- Calls: rescore.plpython.scoring. Tables: creates rescore.models.

CREATE EXTENSION IF NOT EXISTS plpython3u;
CREATE SCHEMA rescore;
CREATE TABLE rescore.models (
    model text, version int, artifact bytea, format text, sha256 text,
    PRIMARY KEY (model, version)
);

CREATE FUNCTION score_rows(model text, version int, flat float8[], columns int)
RETURNS float8[] LANGUAGE plpython3u STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp AS $$
    import sys
    sys.path.extend(path for path in PYTHON_PATH if path not in sys.path)
    from rescore.plpython import scoring
    return scoring.score_rows(plpy, GD, model, version, flat, columns)
$$;

CREATE FUNCTION prove(data bytea, format text, contract text, probes int, claimed float8[])
RETURNS text LANGUAGE plpython3u STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp AS $$
    import json, sys
    sys.path.extend(path for path in PYTHON_PATH if path not in sys.path)
    from rescore.plpython import scoring
    return json.dumps(scoring.prove(plpy, GD, data, format, contract, probes, claimed))
$$;

CREATE FUNCTION cached_versions() RETURNS text LANGUAGE plpython3u STABLE AS $$
    return " ".join(f"{m}:{v}" for m, v in GD.get("rescore.estimators", {}))
$$;

CREATE FUNCTION threads() RETURNS int LANGUAGE plpython3u VOLATILE AS $$
    from pathlib import Path
    return len(list(Path("/proc/self/task").iterdir()))
$$;
