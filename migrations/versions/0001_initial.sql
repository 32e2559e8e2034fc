-- Revision 0001: the tables of the first release.
-- Calls: nothing. Tables: creates every table of schema rescore, which exists already.
-- Frozen once released: a change is a new revision.

CREATE TABLE rescore.profiles (
    profile TEXT NOT NULL,
    table_schema TEXT NOT NULL,
    table_name TEXT NOT NULL,
    slug TEXT NOT NULL,
    key_column TEXT NOT NULL,
    key_type TEXT NOT NULL,
    clock TEXT NOT NULL,
    definition JSONB NOT NULL,
    source TEXT NOT NULL,
    digest TEXT NOT NULL,
    compiler_version TEXT NOT NULL,
    plan JSONB NOT NULL,
    backfill_from TEXT,
    applied_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    applied_by TEXT DEFAULT CURRENT_USER NOT NULL,
    PRIMARY KEY (profile),
    CONSTRAINT profiles_key_type_check CHECK (key_type IN ('bigint', 'text', 'uuid')),
    CONSTRAINT profiles_clock_check CHECK (clock IN ('now', 'session')),
    UNIQUE (slug)
);

COMMENT ON TABLE rescore.profiles IS 'One row per profile: what was applied and what was made of it';
COMMENT ON COLUMN rescore.profiles.profile IS 'Name of the profile, as commands and functions take it';
COMMENT ON COLUMN rescore.profiles.table_schema IS 'Schema of the profile table';
COMMENT ON COLUMN rescore.profiles.table_name IS 'Name of the profile table';
COMMENT ON COLUMN rescore.profiles.slug IS 'Prefix of the profile''s generated functions';
COMMENT ON COLUMN rescore.profiles.key_column IS 'Key column of the profile table';
COMMENT ON COLUMN rescore.profiles.key_type IS 'Type of the key: bigint, text or uuid';
COMMENT ON COLUMN rescore.profiles.clock IS 'What time features are measured against: now or session';
COMMENT ON COLUMN rescore.profiles.definition IS 'The checked definition';
COMMENT ON COLUMN rescore.profiles.source IS 'The definition file as it was applied';
COMMENT ON COLUMN rescore.profiles.digest IS 'SHA-256 of the definition, hexadecimal';
COMMENT ON COLUMN rescore.profiles.compiler_version IS 'Version of rescore whose compiler wrote the triggers';
COMMENT ON COLUMN rescore.profiles.plan IS 'What the compiler made of the definition: columns, states, objects';
COMMENT ON COLUMN rescore.profiles.backfill_from IS 'Last key backfilled; null when no backfill is pending';
COMMENT ON COLUMN rescore.profiles.applied_at IS 'When the definition was applied';
COMMENT ON COLUMN rescore.profiles.applied_by IS 'Who applied the definition';

CREATE TABLE rescore.deployments (
    model TEXT NOT NULL,
    profile TEXT NOT NULL,
    score_columns TEXT[] DEFAULT '{}'::text[] NOT NULL,
    inputs JSONB NOT NULL,
    spec JSONB DEFAULT '{}'::jsonb NOT NULL,
    engine TEXT DEFAULT 'auto'::text NOT NULL,
    champion INTEGER,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (model),
    CONSTRAINT deployments_engine_check CHECK (engine IN ('auto', 'python')),
    CONSTRAINT deployments_model_check CHECK (octet_length(model) BETWEEN 1 AND 40),
    CONSTRAINT deployments_profile_fkey FOREIGN KEY(profile) REFERENCES rescore.profiles (profile)
);

COMMENT ON TABLE rescore.deployments IS 'One row per model: what it takes and which version serves';
COMMENT ON COLUMN rescore.deployments.model IS 'Name of the model';
COMMENT ON COLUMN rescore.deployments.profile IS 'Profile whose rows the model scores';
COMMENT ON COLUMN rescore.deployments.score_columns IS 'Columns of the profile table that hold the model''s score';
COMMENT ON COLUMN rescore.deployments.inputs IS 'Inputs of the model''s router, in order, as in a feature contract';
COMMENT ON COLUMN rescore.deployments.spec IS 'The model''s part of the definition';
COMMENT ON COLUMN rescore.deployments.engine IS 'auto: compiled when linear; python: always from the artefact';
COMMENT ON COLUMN rescore.deployments.champion IS 'Version that serves; null while there is none';
COMMENT ON COLUMN rescore.deployments.updated_at IS 'When the row last changed';

CREATE TABLE rescore.models (
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    artifact BYTEA NOT NULL,
    format TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    engine TEXT NOT NULL,
    linear JSONB,
    contract JSONB NOT NULL,
    metrics JSONB DEFAULT '{}'::jsonb NOT NULL,
    library_versions JSONB DEFAULT '{}'::jsonb NOT NULL,
    parent INTEGER,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    created_by TEXT DEFAULT SESSION_USER NOT NULL,
    PRIMARY KEY (model, version),
    CONSTRAINT models_engine_check CHECK (engine IN ('compiled', 'python')),
    CONSTRAINT models_version_check CHECK (version > 0)
);

COMMENT ON TABLE rescore.models IS 'One row per model version; immutable';
COMMENT ON COLUMN rescore.models.model IS 'Name of the model';
COMMENT ON COLUMN rescore.models.version IS 'Number of the version, never used twice';
COMMENT ON COLUMN rescore.models.artifact IS 'The pickled estimator';
COMMENT ON COLUMN rescore.models.format IS 'Format of the artefact: joblib, pickle or skops';
COMMENT ON COLUMN rescore.models.sha256 IS 'SHA-256 of the artefact, hexadecimal';
COMMENT ON COLUMN rescore.models.engine IS 'compiled: an SQL function; python: scored from the artefact';
COMMENT ON COLUMN rescore.models.linear IS 'Weights, intercept and link on the raw scale; null when not linear';
COMMENT ON COLUMN rescore.models.contract IS 'The feature contract: inputs in order, and how they become numbers';
COMMENT ON COLUMN rescore.models.metrics IS 'Measured quality, by name';
COMMENT ON COLUMN rescore.models.library_versions IS 'Versions of the libraries that trained and proved it';
COMMENT ON COLUMN rescore.models.parent IS 'Version it was trained on from; null when from nothing';
COMMENT ON COLUMN rescore.models.created_at IS 'When the version was recorded';
COMMENT ON COLUMN rescore.models.created_by IS 'Who recorded the version';

CREATE TABLE rescore.deployment_history (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    model TEXT NOT NULL,
    action TEXT NOT NULL,
    version INTEGER NOT NULL,
    previous INTEGER,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    by TEXT DEFAULT SESSION_USER NOT NULL,
    reason TEXT,
    PRIMARY KEY (id),
    CONSTRAINT deployment_history_action_check CHECK (action IN ('publish', 'candidate', 'promote', 'rollback'))
);

COMMENT ON TABLE rescore.deployment_history IS 'One row per switch of a model''s champion, and per recorded candidate';
COMMENT ON COLUMN rescore.deployment_history.id IS 'Order of switches';
COMMENT ON COLUMN rescore.deployment_history.model IS 'Name of the model';
COMMENT ON COLUMN rescore.deployment_history.action IS 'publish, candidate, promote or rollback';
COMMENT ON COLUMN rescore.deployment_history.version IS 'Version the action was about';
COMMENT ON COLUMN rescore.deployment_history.previous IS 'Version that served before; null when none did';
COMMENT ON COLUMN rescore.deployment_history.at IS 'When the switch was made';
COMMENT ON COLUMN rescore.deployment_history.by IS 'Who made it';
COMMENT ON COLUMN rescore.deployment_history.reason IS 'Why, in the words of who made it';

CREATE TABLE rescore.incident_log (
    cause TEXT NOT NULL,
    profile TEXT,
    model TEXT,
    version INTEGER,
    sqlstate TEXT NOT NULL,
    message TEXT NOT NULL,
    context TEXT,
    first_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    resolved_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (cause)
);

COMMENT ON TABLE rescore.incident_log IS 'One row per cause of a failed score; the event itself is never lost';
COMMENT ON COLUMN rescore.incident_log.cause IS 'Digest of profile, model, version, SQLSTATE and message';
COMMENT ON COLUMN rescore.incident_log.profile IS 'Profile whose rows were concerned';
COMMENT ON COLUMN rescore.incident_log.model IS 'Model concerned';
COMMENT ON COLUMN rescore.incident_log.version IS 'Version that served';
COMMENT ON COLUMN rescore.incident_log.sqlstate IS 'SQLSTATE of the error';
COMMENT ON COLUMN rescore.incident_log.message IS 'Message of the error';
COMMENT ON COLUMN rescore.incident_log.context IS 'Where in the server''s code it was raised';
COMMENT ON COLUMN rescore.incident_log.first_at IS 'When it was first seen';
COMMENT ON COLUMN rescore.incident_log.resolved_at IS 'When it was marked as dealt with; null while open';

CREATE TABLE rescore.removed_keys (
    profile TEXT NOT NULL,
    key TEXT NOT NULL,
    removed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (profile, key)
);

COMMENT ON TABLE rescore.removed_keys IS 'Deleted profile rows whose events remain: they are not to be brought back';
COMMENT ON COLUMN rescore.removed_keys.profile IS 'Profile the row was deleted from';
COMMENT ON COLUMN rescore.removed_keys.key IS 'Key of the deleted row, as text';
COMMENT ON COLUMN rescore.removed_keys.removed_at IS 'When it was deleted';

CREATE TABLE rescore.python_path (
    position INTEGER NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (position)
);

COMMENT ON TABLE rescore.python_path IS 'Where the server''s Python finds rescore and scikit-learn; superusers write it';
COMMENT ON COLUMN rescore.python_path.position IS 'Order of the directory on sys.path';
COMMENT ON COLUMN rescore.python_path.path IS 'Directory, absolute, readable by the server''s account';

-- Artefacts are compressed by joblib; fetching them uncompressed is one copy less.
ALTER TABLE rescore.models ALTER COLUMN artifact SET STORAGE EXTERNAL;
