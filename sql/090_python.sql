-- requires: plpython3u
-- Thin entries into rescore.plpython: proving artefacts and scoring from them. No logic here.
-- Calls: rescore.plpython.scoring, .signature. Tables: reads rescore.python_path, rescore.models, rescore.trusted_keys.

CREATE OR REPLACE FUNCTION rescore._python_start()
RETURNS void
LANGUAGE plpython3u VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
import sys
# Whoever can write this table runs code as the server's account: hence the check of its owner.
rows = plpy.execute("""
    SELECT p.path FROM rescore.python_path AS p
    WHERE EXISTS (SELECT FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner
                  WHERE c.oid = 'rescore.python_path'::regclass AND r.rolsuper)
    ORDER BY p.position""")
sys.path += [row["path"] for row in rows if row["path"] not in sys.path]
try:
    from rescore.plpython import scoring
except ImportError as error:
    plpy.error("the server's Python cannot import rescore: " + str(error), sqlstate="RS007",
               detail="It looked in " + ", ".join(sys.path) + ".",
               hint="Run `rescore install --python-path DIRECTORY` as a superuser; "
                    "the server's account must be able to read the directory.")
GD["rescore"] = scoring
$$;
COMMENT ON FUNCTION rescore._python_start() IS
    'Lets this session''s Python find rescore; RS007 when it cannot.';

CREATE OR REPLACE FUNCTION rescore._prove(artifact bytea, format text, contract jsonb, n_probes integer, claimed double precision[])
RETURNS jsonb
LANGUAGE plpython3u VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
import json
if "rescore" not in GD:
    plpy.execute("SELECT rescore._python_start()")
proof = GD["rescore"].prove(plpy, GD, artifact, format, contract, n_probes, claimed)
for warning in proof["warnings"]:
    plpy.warning(warning)
return json.dumps(proof)
$$;
COMMENT ON FUNCTION rescore._prove(bytea, text, jsonb, integer, double precision[]) IS
    'Loads an artefact through the allow-list and returns its proof: linear form, probes and their scores.';

CREATE OR REPLACE FUNCTION rescore._artefact_contract(artifact bytea, format text, inputs jsonb)
RETURNS jsonb
LANGUAGE plpython3u VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
import json
if "rescore" not in GD:
    plpy.execute("SELECT rescore._python_start()")
with GD["rescore"].sql_errors(plpy):
    from rescore.plpython.artifact import load
    from rescore.plpython.contract import Input, from_names
    from rescore.plpython.estimators import feature_names
    names = feature_names(load(artifact, format)) or []
    return json.dumps(from_names(map(Input.from_json, json.loads(inputs)), names).to_json())
$$;
COMMENT ON FUNCTION rescore._artefact_contract(bytea, text, jsonb) IS
    'The contract of an artefact whose column names tell the categories.';

CREATE OR REPLACE FUNCTION rescore._signer(model text, format text, sha256 text, contract jsonb, linear jsonb, signature bytea)
RETURNS text
LANGUAGE plpython3u VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
if "rescore" not in GD:
    plpy.execute("SELECT rescore._python_start()")
with GD["rescore"].sql_errors(plpy):
    from rescore.plpython.signature import signer_of
    return signer_of(plpy, model, format, sha256, contract, linear, signature)
$$;
COMMENT ON FUNCTION rescore._signer(text, text, text, jsonb, jsonb, bytea) IS
    'The name of the registered key that signed a version; NULL when none of them did.';

CREATE OR REPLACE FUNCTION rescore._python_scores(model text, version integer, flat double precision[], columns integer)
RETURNS double precision[]
LANGUAGE plpython3u STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
if flat is None:
    return None
if "rescore" not in GD:
    plpy.execute("SELECT rescore._python_start()")
return GD["rescore"].score_rows(plpy, GD, model, version, flat, columns)
$$;
COMMENT ON FUNCTION rescore._python_scores(text, integer, double precision[], integer) IS
    'Scores design rows, one after the other in flat, from the artefact of a version.';

CREATE OR REPLACE FUNCTION rescore._python_score(model text, version integer, design_row double precision[])
RETURNS double precision
LANGUAGE plpython3u STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
if design_row is None:
    return None
if "rescore" not in GD:
    plpy.execute("SELECT rescore._python_start()")
return GD["rescore"].score_rows(plpy, GD, model, version, design_row, len(design_row))[0]
$$;
COMMENT ON FUNCTION rescore._python_score(text, integer, double precision[]) IS
    'Scores one design row from the artefact of a version.';

REVOKE EXECUTE ON FUNCTION rescore._prove(bytea, text, jsonb, integer, double precision[]) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore._artefact_contract(bytea, text, jsonb) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION rescore._signer(text, text, text, jsonb, jsonb, bytea) FROM PUBLIC;
