"""The stateful tables of schema ``rescore`` as SQLAlchemy Core metadata.

One metadata for the migrations' check (``tests/sql/test_migrations.py``) and for queries from
Python. The released migrations do not import it: they are frozen, this follows the newest one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, OID, TSTZRANGE
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

SCHEMA = "rescore"

metadata = MetaData(schema=SCHEMA)


class Xid8(UserDefinedType[Any]):
    """A transaction, with its epoch."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "XID8"


class Snapshot(UserDefinedType[Any]):
    """Which transactions could be seen at a moment."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "PG_SNAPSHOT"


# So that comparing with a database recognises them.
ischema_names.update({"xid8": Xid8, "pg_snapshot": Snapshot})


def _column(name: str, type_: Any, comment: str, **options: Any) -> Column[Any]:
    """Return a column that is not null unless told otherwise."""
    if not options.get("primary_key"):
        options.setdefault("nullable", False)
    return Column(name, type_, comment=comment, **options)


def _text(name: str, comment: str, **options: Any) -> Column[str]:
    return _column(name, Text, comment, **options)


def _json(name: str, comment: str, **options: Any) -> Column[Any]:
    return _column(name, JSONB, comment, **options)


def _number(name: str, comment: str, **options: Any) -> Column[int]:
    return _column(name, Integer, comment, **options)


def _count(name: str, comment: str, **options: Any) -> Column[int]:
    return _column(name, BigInteger, comment, **options)


def _float(name: str, comment: str, **options: Any) -> Column[float]:
    return _column(name, Double, comment, **options)


def _flag(name: str, comment: str, **options: Any) -> Column[bool]:
    return _column(name, Boolean, comment, **options)


def _bytes(name: str, comment: str, **options: Any) -> Column[bytes]:
    return _column(name, LargeBinary, comment, **options)


def _xid(name: str, comment: str, **options: Any) -> Column[Any]:
    return _column(name, Xid8, comment, **options)


def _moment(name: str, comment: str, **options: Any) -> Column[Any]:
    """Return a timestamptz column that is the transaction's start unless told otherwise."""
    if not options.get("nullable"):
        options.setdefault("server_default", text("now()"))
    return _column(name, DateTime(timezone=True), comment, **options)


def _who(name: str, comment: str) -> Column[str]:
    return _text(name, comment, server_default=text("CURRENT_USER"))


python_path = Table(
    "python_path",
    metadata,
    _number(
        "position", "Order of the directory on sys.path", primary_key=True, autoincrement=False
    ),
    _text("path", "Directory, absolute, readable by the server's account"),
    comment="Where the server's Python finds rescore and scikit-learn; superusers write it",
)

profiles = Table(
    "profiles",
    metadata,
    _text("profile", "Name of the profile, as commands and functions take it", primary_key=True),
    _text("table_schema", "Schema of the profile table"),
    _text("table_name", "Name of the profile table"),
    _text("slug", "Prefix of the profile's generated functions", unique=True),
    _text("key_column", "Key column of the profile table"),
    _text("key_type", "Type of the key: bigint, text or uuid"),
    _text("clock", "What time features are measured against: now or session"),
    _json("definition", "The checked definition"),
    _text("source", "The definition file as it was applied"),
    _text("digest", "SHA-256 of the definition, hexadecimal"),
    _text("compiler_version", "Version of rescore whose compiler wrote the triggers"),
    _json("plan", "What the compiler made of the definition: columns, states, objects"),
    _text("backfill_from", "Last key backfilled; null when no backfill is pending", nullable=True),
    _moment("applied_at", "When the definition was applied"),
    _who("applied_by", "Who applied the definition"),
    CheckConstraint("key_type IN ('bigint', 'text', 'uuid')", name="profiles_key_type_check"),
    CheckConstraint("clock IN ('now', 'session')", name="profiles_clock_check"),
    comment="One row per profile: what was applied and what was made of it",
)

deployments = Table(
    "deployments",
    metadata,
    _text("model", "Name of the model", primary_key=True),
    Column(
        "profile",
        Text,
        ForeignKey("rescore.profiles.profile", name="deployments_profile_fkey"),
        nullable=False,
        comment="Profile whose rows the model scores",
    ),
    _column(
        "score_columns",
        ARRAY(Text),
        "Columns of the profile table that hold the model's score",
        server_default=text("'{}'::text[]"),
    ),
    _json("inputs", "Inputs of the model's router, in order, as in a feature contract"),
    _json("spec", "The model's part of the definition", server_default=text("'{}'::jsonb")),
    _text(
        "engine",
        "auto: compiled when linear; python: always from the artefact",
        server_default=text("'auto'::text"),
    ),
    _number("champion", "Version that serves; null while there is none", nullable=True),
    _moment("updated_at", "When the row last changed"),
    _number(
        "challenger",
        "Version that serves a share of the customers; null while there is none",
        nullable=True,
    ),
    _float("challenger_share", "Share of the customers it serves, between 0 and 1", nullable=True),
    _column(
        "shadows",
        ARRAY(Integer),
        "Versions that score beside the champion in snapshots and serve nobody",
        server_default=text("'{}'::integer[]"),
    ),
    _number(
        "predecessor",
        "Version that served before the champion and was not rolled back from; scored beside it "
        "under a rollback rule",
        nullable=True,
    ),
    CheckConstraint(
        "(challenger IS NULL) = (challenger_share IS NULL)", name="deployments_challenger_check"
    ),
    CheckConstraint(
        "challenger_share > 0 AND challenger_share < 1", name="deployments_share_check"
    ),
    CheckConstraint("engine IN ('auto', 'python')", name="deployments_engine_check"),
    CheckConstraint("octet_length(model) BETWEEN 1 AND 40", name="deployments_model_check"),
    comment="One row per model: what it takes and which version serves",
)

models = Table(
    "models",
    metadata,
    _text("model", "Name of the model", primary_key=True),
    _number("version", "Number of the version, never used twice", primary_key=True),
    _bytes("artifact", "The pickled estimator"),
    _text("format", "Format of the artefact: joblib, pickle or skops"),
    _text("sha256", "SHA-256 of the artefact, hexadecimal"),
    _text("engine", "compiled: an SQL function; python: scored from the artefact"),
    _json(
        "linear",
        "Weights, intercept and link on the raw scale; null when not linear",
        nullable=True,
    ),
    _json("contract", "The feature contract: inputs in order, and how they become numbers"),
    _json("metrics", "Measured quality, by name", server_default=text("'{}'::jsonb")),
    _json(
        "library_versions",
        "Versions of the libraries that trained and proved it",
        server_default=text("'{}'::jsonb"),
    ),
    _number("parent", "Version it was trained on from; null when from nothing", nullable=True),
    _moment("created_at", "When the version was recorded"),
    _text("created_by", "Who recorded the version", server_default=text("SESSION_USER")),
    _bytes(
        "signature",
        "Ed25519 signature it was published with; null when no keys were registered",
        nullable=True,
    ),
    _text(
        "signed_by",
        "Name of the key that signed it; null when no keys were registered",
        nullable=True,
    ),
    CheckConstraint("engine IN ('compiled', 'python')", name="models_engine_check"),
    CheckConstraint("version > 0", name="models_version_check"),
    CheckConstraint("octet_length(signature) = 64", name="models_signature_check"),
    comment="One row per model version; immutable",
)

trusted_keys = Table(
    "trusted_keys",
    metadata,
    _text("name", "Name of the key, kept with the versions it signed", primary_key=True),
    _bytes("public_key", "The public key, 32 bytes", unique=True),
    _moment("added_at", "When it was registered"),
    _text("added_by", "Who registered it", server_default=text("SESSION_USER")),
    CheckConstraint("octet_length(name) BETWEEN 1 AND 63", name="trusted_keys_name_check"),
    CheckConstraint("octet_length(public_key) = 32", name="trusted_keys_public_key_check"),
    comment="Ed25519 keys whose signatures publishing asks for; while there is none, it asks for "
    "no signature",
)

deployment_history = Table(
    "deployment_history",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Order of switches"),
    _text("model", "Name of the model"),
    _text("action", "publish, candidate, promote, rollback, challenge, shadow, demote or drop"),
    _number(
        "version",
        "Version the action was about; of a model that was dropped the one that served, "
        "or else the newest",
    ),
    _number("previous", "Version that served before; null when none did", nullable=True),
    _moment("at", "When the switch was made"),
    _text("by", "Who made it", server_default=text("SESSION_USER")),
    _text("reason", "Why, in the words of who made it", nullable=True),
    _json(
        "details",
        "Numbers the decision was made on; of a model that was dropped what went, "
        "rows and bytes by place; null where somebody decided",
        nullable=True,
    ),
    CheckConstraint(
        "action IN ('publish', 'candidate', 'promote', 'rollback', "
        "'challenge', 'shadow', 'demote', 'drop')",
        name="deployment_history_action_check",
    ),
    comment="One row per switch of a model's champion, per recorded candidate, "
    "and per model that was dropped",
)

alerts = Table(
    "alerts",
    metadata,
    _text("cause", "What is wrong with what, without numbers that change", primary_key=True),
    _text("rule", "Rule that found it"),
    _text("message", "What was found last"),
    _moment("first_at", "When it was first found, or found again after it was gone"),
    _moment("last_at", "When it was last found"),
    _moment(
        "sent_at",
        "When it was told; null while it has not been, or the command failed",
        nullable=True,
    ),
    _moment("resolved_at", "When it was gone; null while it lasts", nullable=True),
    comment="One row per cause that an alert rule has found; "
    "told once until it is gone and comes back",
)

incident_log = Table(
    "incident_log",
    metadata,
    _text("cause", "Digest of profile, model, version, SQLSTATE and message", primary_key=True),
    _text("profile", "Profile whose rows were concerned", nullable=True),
    _text("model", "Model concerned", nullable=True),
    _number("version", "Version that served", nullable=True),
    _text("sqlstate", "SQLSTATE of the error"),
    _text("message", "Message of the error"),
    _text("context", "Where in the server's code it was raised", nullable=True),
    _moment("first_at", "When it was first seen"),
    _moment("resolved_at", "When it was marked as dealt with; null while open", nullable=True),
    comment="One row per cause of a failed score; the event itself is never lost",
)

removed_keys = Table(
    "removed_keys",
    metadata,
    _text("profile", "Profile the row was deleted from", primary_key=True),
    _text("key", "Key of the deleted row, as text", primary_key=True),
    _moment("removed_at", "When it was deleted"),
    comment="Deleted profile rows whose events remain: they are not to be brought back",
)

tombstones = Table(
    "tombstones",
    metadata,
    _text("profile", "Profile the key was forgotten in", primary_key=True),
    _bytes(
        "digest", "Digest of the key under this database's secret (HMAC-SHA256)", primary_key=True
    ),
    _moment("forgotten_at", "When it was forgotten"),
    _text("forgotten_by", "Who had it forgotten", server_default=text("SESSION_USER")),
    comment="One row per key that was forgotten: it is not to be brought back by events that "
    "stayed or come late",
)

tombstone_secret = Table(
    "tombstone_secret",
    metadata,
    _column("secret_id", Integer, "Always 1", primary_key=True, autoincrement=False),
    _bytes("inner_key", "64 random bytes: the inner key of the HMAC"),
    _bytes("outer_key", "64 random bytes: the outer key of the HMAC"),
    CheckConstraint("secret_id = 1", name="tombstone_secret_single_check"),
    comment="The secret under which forgotten keys are digested: one row, made when it is "
    "first needed",
)

outbox = Table(
    "outbox",
    metadata,
    Column(
        "id",
        BigInteger,
        Identity(always=True),
        primary_key=True,
        comment="Position; of two rows of one customer the later has the greater",
    ),
    _xid("xid", "Transaction that wrote it", server_default=text("pg_current_xact_id()")),
    _text("profile", "Profile the score belongs to"),
    _text("score", "Column of the profile table"),
    _text("key", "Key of the profile row, as text"),
    _float("old", "Score last reported; null when none was", nullable=True),
    _float("new", "Score now; null when the row is gone or no longer scored", nullable=True),
    _text("old_band", "Band of the score last reported; null when it had none", nullable=True),
    _text("new_band", "Band of the score now; null when it has none", nullable=True),
    _text("model", "Model that scored"),
    _number("version", "Version that scored; null when the score is", nullable=True),
    _column("at", DateTime(timezone=True), "Moment the score is for"),
    _moment("created_at", "When the transaction that wrote it began"),
    Index("outbox_xid_idx", "xid"),
    comment="One row per score that moved, written with it and read in order by named consumers",
)

outbox_consumers = Table(
    "outbox_consumers",
    metadata,
    _text("consumer", "Name of the consumer", primary_key=True),
    _column("seen", Snapshot, "All rows visible in this snapshot are acknowledged"),
    _column(
        "reading",
        Snapshot,
        "Rows visible in this snapshot and not in seen are being read, by id; "
        "null before the first",
        nullable=True,
    ),
    _count(
        "position",
        "Of the rows being read, those up to this id are acknowledged",
        server_default=text("0"),
    ),
    _count(
        "sent",
        "Of the rows being read, those up to this id were handed out",
        server_default=text("0"),
    ),
    _number("share", "Which share of the customers it reads, from 0", server_default=text("0")),
    _number("shares", "How many shares the customers are dealt into", server_default=text("1")),
    _column(
        "source",
        OID,
        "OID of the outbox its snapshots are of: another one after a restore from a dump",
    ),
    _count(
        "system",
        "Identifier of the server its snapshots are of, null where it may not be read: "
        "another one after a restore from a dump",
        nullable=True,
    ),
    _moment("registered_at", "When it was registered"),
    _text("registered_by", "Who registered it", server_default=text("SESSION_USER")),
    _moment("read_at", "When it last read", nullable=True),
    _moment("acknowledged_at", "When it last acknowledged", nullable=True),
    CheckConstraint("share >= 0 AND share < shares", name="outbox_consumers_share_check"),
    comment="One row per reader of the outbox, and how far it has come",
)

sweeps = Table(
    "sweeps",
    metadata,
    _text("profile", "Profile swept", primary_key=True),
    _number(
        "part",
        "Which part of the keys, from 1 on; each is swept by a session of its own",
        primary_key=True,
        autoincrement=False,
        server_default=text("1"),
    ),
    _json(
        "terms",
        "What it sweeps for: age, tolerance, definition, serving versions, parts; "
        "another sweep begins anew",
    ),
    _text(
        "position",
        "Last key done, as text, at first the end of the part before; null at the table's start",
        nullable=True,
    ),
    _text("until", "Last key of the part, as text; null up to the table's end", nullable=True),
    _number(
        "size", "Rows of the next batch: fewer after others held locks, more again when they do not"
    ),
    _count("looked", "Rows looked at", server_default=text("0")),
    _count("changed", "Rows written", server_default=text("0")),
    _column(
        "locked",
        ARRAY(Text),
        "Keys passed over because others held their rows; tried again at the end",
        server_default=text("'{}'::text[]"),
    ),
    _number("misses", "Batches one after the other that got no lock", server_default=text("0")),
    _number("pid", "Server process that sweeps, or did last", nullable=True),
    _moment(
        "held_until",
        "Until when nobody else may go on with it while that process lives",
        nullable=True,
    ),
    _moment("started_at", "When it began"),
    _moment("finished_at", "When it came to the end; null while it has not", nullable=True),
    comment="One row per part of the last sweep of each profile: where it stands, "
    "so that the next goes on there",
)

snapshots = Table(
    "snapshots",
    metadata,
    Column(
        "id",
        BigInteger,
        Identity(always=True),
        primary_key=True,
        comment="Order in which snapshots were taken",
    ),
    _text("model", "Model that scored"),
    _text("key", "Key of the profile row, as text"),
    _column(
        "taken_at",
        DateTime(timezone=True),
        "Moment of the snapshot, by the profile's clock; the label looks at what follows",
        primary_key=True,
    ),
    _number(
        "version",
        "Version whose score was served; its contract names the columns of the design row",
    ),
    _float("score", "Score that was served", nullable=True),
    _column("design", ARRAY(Double), "Design row that was scored, in the order of the contract"),
    _json(
        "others",
        "Scores of versions that did not serve this row, by number; null when there were none",
        nullable=True,
    ),
    _text(
        "serving",
        "Whether the version served as champion or as challenger",
        server_default=text("'champion'::text"),
    ),
    _flag(
        "holdout",
        "Whether the customer is kept untreated; null when the profile has no interventions",
        nullable=True,
    ),
    _moment(
        "treated_at",
        "First treatment after the moment and within the horizon, as known when it was resolved",
        nullable=True,
    ),
    _float("label", "What came of it; null while open and when censored", nullable=True),
    _flag(
        "early",
        "Open, and already known to be positive: shown apart, never learnt",
        server_default=text("false"),
    ),
    _column(
        "due_at",
        DateTime(timezone=True),
        "End of the horizon and of settling: before it nothing resolves",
    ),
    _xid(
        "resolved",
        "Transaction that resolved it, which never changes; null while open",
        nullable=True,
    ),
    _moment("resolved_at", "Moment it was resolved, by the profile's clock", nullable=True),
    _flag(
        "censored",
        "Resolved without a label: the outcome cannot be known",
        server_default=text("false"),
    ),
    _moment(
        "corrected_at",
        "Moment of the last correction of a label that had been resolved, by the profile's clock",
        nullable=True,
    ),
    _float(
        "label_first",
        "Label before it was first corrected; null when it never was, or was censored",
        nullable=True,
    ),
    _text("quarantined", "Why learning must not use it; null when it may", nullable=True),
    _bytes(
        "hash",
        'First 8 bytes of the SHA-256 of "learn MODEL:KEY", set when it is resolved: by it '
        "customers are tested on; null: computed when read",
        nullable=True,
    ),
    CheckConstraint("serving IN ('champion', 'challenger')", name="snapshots_serving_check"),
    CheckConstraint(
        "resolved IS NOT NULL OR (label IS NULL AND NOT censored)", name="snapshots_open_check"
    ),
    Index("snapshots_moment_idx", "model", "taken_at", "key", unique=True),
    Index("snapshots_due_idx", "model", "due_at", postgresql_where=text("resolved IS NULL")),
    Index(
        "snapshots_resolved_idx",
        "model",
        "resolved",
        "id",
        postgresql_where=text("resolved IS NOT NULL"),
    ),
    Index("snapshots_key_idx", "model", "key"),
    Index("snapshots_quarantined_idx", "model", postgresql_where=text("quarantined IS NOT NULL")),
    postgresql_partition_by="RANGE (taken_at)",
    comment="One row per logged score, with what it was computed from and, later, what came of it",
)

snapshot_rounds = Table(
    "snapshot_rounds",
    metadata,
    _text("profile", "Profile whose rows are logged", primary_key=True),
    _moment("began_at", "When the round began, by the profile's clock", nullable=True),
    _text("position", "Last key done, as text; null before the first batch", nullable=True),
    _count("taken", "Snapshots taken in this round", server_default=text("0")),
    _moment("next_at", "When the next round is due, by the profile's clock", nullable=True),
    _moment(
        "finished_at",
        "When the round came to its end, by the profile's clock; null while it has not",
        nullable=True,
    ),
    _moment(
        "checked_at",
        "When early outcomes and corrections were last looked for, by the profile's clock",
        nullable=True,
    ),
    comment="One row per profile: how far its round of snapshots has come, and when the next is "
    "due",
)

learning = Table(
    "learning",
    metadata,
    _text("model", "Model that learns", primary_key=True),
    _xid(
        "watermark_xid",
        "Transaction up to which examples were learnt",
        server_default=text("'0'::xid8"),
    ),
    _count("watermark_id", "Last snapshot learnt of that transaction", server_default=text("0")),
    _number("line", "Version that learning goes on from; null: the champion", nullable=True),
    _number(
        "champion",
        "Version that served after the last round; another one since then begins a new line",
        nullable=True,
    ),
    _json(
        "memory",
        "What learning remembers beside the version: counts, calibration, times",
        server_default=text("'{}'::jsonb"),
    ),
    _moment("updated_at", "When a round last ended"),
    comment="One row per model that learns: where the next round goes on",
)

learn_log = Table(
    "learn_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Order of rounds"),
    _text("model", "Model that learnt"),
    _moment("at", "When the round ended"),
    _text("by", "Who learnt", server_default=text("SESSION_USER")),
    _number("parent", "Version it went on from; null: none serves", nullable=True),
    _number("version", "Version it made; null: none", nullable=True),
    _count("examples", "Examples learnt"),
    _count("positives", "Of these, with the outcome"),
    _json("skipped", "Snapshots passed over, by reason", server_default=text("'{}'::jsonb")),
    _column(
        "period",
        TSTZRANGE,
        "From the first to the last moment of the examples learnt",
        nullable=True,
    ),
    _xid("from_xid", "Watermark before: transaction"),
    _count("from_id", "Watermark before: snapshot"),
    _xid("to_xid", "Watermark after: transaction"),
    _count("to_id", "Watermark after: snapshot"),
    _json(
        "metrics", "What was measured, each with its interval", server_default=text("'{}'::jsonb")
    ),
    _text("action", "published, candidate, refused, waiting, nothing or quarantined"),
    _json("reasons", "Why, as sentences", server_default=text("'[]'::jsonb")),
    CheckConstraint(
        "action IN ('published', 'candidate', 'refused', 'waiting', 'nothing', 'quarantined')",
        name="learn_log_action_check",
    ),
    Index("learn_log_model_idx", "model", "id"),
    comment="One row per round of learning: what came in, what was decided, and why",
)

lineage = Table(
    "lineage",
    metadata,
    _text("model", "Name of the model", primary_key=True),
    _number("version", "Number of the version", primary_key=True),
    _count("examples", "Examples it learnt beyond its parent's"),
    _count("positives", "Of these, with the outcome"),
    _column(
        "period", TSTZRANGE, "From the first to the last moment of these examples", nullable=True
    ),
    _moment("known_until", "No outcome known later was learnt", nullable=True),
    _xid(
        "watermark_xid",
        "Transaction up to which it learnt snapshots; null: it learnt past moments",
        nullable=True,
    ),
    _count("watermark_id", "Last snapshot it learnt of that transaction", nullable=True),
    _json(
        "memory",
        "What learning on from it must know: counts, calibration, times",
        server_default=text("'{}'::jsonb"),
    ),
    _json(
        "reference",
        "Distribution of each design column in its examples, against which drift is told",
        nullable=True,
    ),
    _count("customers", "Different customers in that reference", nullable=True),
    ForeignKeyConstraint(
        ["model", "version"],
        ["rescore.models.model", "rescore.models.version"],
        name="lineage_version_fkey",
        ondelete="CASCADE",
    ),
    comment="One row per version that was trained here: from what, and what it remembers",
)

judgements = Table(
    "judgements",
    metadata,
    _text("model", "Name of the model", primary_key=True),
    _number("version", "Version that served", primary_key=True),
    _column(
        "period",
        TSTZRANGE,
        "From the first to the last moment of the snapshots it scored as champion",
    ),
    _count("snapshots", "Snapshots it scored as champion"),
    _count("open", "Of these, without an outcome yet"),
    _count(
        "examples",
        "Snapshots the numbers are of: resolved, neither censored, quarantined nor "
        "treated; a sample where they are many",
    ),
    _count("customers", "Different customers among these"),
    _text("metric", "Metric of the gain"),
    _json(
        "metrics", "Each metric of its scores with its interval", server_default=text("'{}'::jsonb")
    ),
    _number(
        "against",
        "Version whose place it took; null where there was none, "
        "or it cannot score these snapshots",
        nullable=True,
    ),
    _json(
        "gain",
        "By how much it was better than that on the same snapshots, with its interval",
        server_default=text("'{}'::jsonb"),
    ),
    _text(
        "verdict",
        "better or worse where the interval says so; else even when all is resolved, open before",
    ),
    _xid("resolved", "Transaction up to which outcomes were counted"),
    _moment("at", "When it was judged, by the profile's clock"),
    CheckConstraint(
        "verdict IN ('better', 'worse', 'even', 'open')", name="judgements_verdict_check"
    ),
    ForeignKeyConstraint(
        ["model", "version"],
        ["rescore.models.model", "rescore.models.version"],
        name="judgements_version_fkey",
        ondelete="CASCADE",
    ),
    comment="One row per version that served: what came of its scores, "
    "beside those of the version whose place it took",
)

relabelled = Table(
    "relabelled",
    metadata,
    _text("model", "Name of the model", primary_key=True),
    _number("version", "Version that gave the scores", primary_key=True),
    _xid("xid", "Transaction that changed what came of them", primary_key=True),
    ForeignKeyConstraint(
        ["model", "version"],
        ["rescore.models.model", "rescore.models.version"],
        name="relabelled_version_fkey",
        ondelete="CASCADE",
    ),
    comment="One row per version and transaction that corrected, quarantined or released outcomes "
    "of its scores, until it is judged by them",
)

runner_jobs = Table(
    "runner_jobs",
    metadata,
    _text("job", "Name of the job, as in the log", primary_key=True),
    _moment("at", "When a round of it last ended, to a minute as long as nothing changes"),
    _text(
        "error",
        "What fails, of the job or of some of its profiles or models; null when nothing does",
        nullable=True,
    ),
    _number("times", "How often it has failed one after the other"),
    _moment(
        "failing_since",
        "When it failed first without having gone well since; null when nothing fails",
        nullable=True,
    ),
    comment="One row per job of `rescore run`: how it went last",
)

learn_requests = Table(
    "learn_requests",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Order of requests"),
    _text("model", "Model that is to learn"),
    _moment("at", "When it was asked for"),
    _text("by", "Who asked", server_default=text("SESSION_USER")),
    _text("reason", "Why, in the words of who asked", nullable=True),
    _moment("done_at", "When a round began that answers it; null while none has", nullable=True),
    Index("learn_requests_open_idx", "model", postgresql_where=text("done_at IS NULL")),
    comment="One row per wish that a model learn now",
)

released = Table(
    "released",
    metadata,
    _text("model", "Model of the snapshot", primary_key=True),
    _count("id", "The snapshot", primary_key=True),
    _moment("at", "When it was released"),
    _text("by", "Who released it", server_default=text("SESSION_USER")),
    comment="Snapshots let out of quarantine: they are learnt whatever they hold",
)

drift_log = Table(
    "drift_log",
    metadata,
    _text("model", "Name of the model", primary_key=True),
    _text(
        "feature",
        "Column of the design row; or score, loss, label: as served, its log loss, what came of it",
        primary_key=True,
    ),
    _number("version", "Version whose training examples it is compared with"),
    _moment("at", "When it was looked at"),
    _column(
        "period",
        TSTZRANGE,
        "From the first to the last moment of the snapshots compared",
        nullable=True,
    ),
    _count("examples", "Snapshots compared"),
    _json("numbers", "What was found: psi, psi_by_chance, ks, p_value, outside, before, now"),
    _moment(
        "changed_at",
        "Moment from which on the streaming detector saw other values; null: it saw no change",
        nullable=True,
    ),
    comment="One row per column of a model: how far its newest values are from those of training",
)

queue = Table(
    "queue",
    metadata,
    _text("profile", "Profile", primary_key=True),
    Column(
        "id",
        BigInteger,
        Identity(always=True),
        primary_key=True,
        comment="Order in which rows are folded, about that in which they came",
    ),
    _text("key", "Key of the customer, as text; null for everybody", nullable=True),
    _flag(
        "came",
        "Whether events came: only then is a missing customer created",
        server_default=text("true"),
    ),
    _flag(
        "at_commit",
        "Whether the transaction that wrote it folds it when it commits: the queue was full",
        server_default=text("false"),
    ),
    _text(
        "position", "Of a row for everybody: last key done; null before the first", nullable=True
    ),
    _xid("xid", "Transaction that wrote it", server_default=text("pg_current_xact_id()")),
    _moment("created_at", "When that transaction began"),
    Index("queue_key_idx", "profile", "key"),
    comment="One row per customer whose events changed and are still to be counted: "
    "written with the events, taken away by the fold that counts them",
)

folds = Table(
    "folds",
    metadata,
    _text("profile", "Profile", primary_key=True),
    _count(
        "floor",
        "Rows of the queue up to this id are folded, "
        "but for those of transactions that were open then",
        server_default=text("0"),
    ),
    _count("folded", "Rows folded so far", server_default=text("0")),
    _moment("folded_at", "When rows were last folded", nullable=True),
    _moment(
        "paused_at", "Since when no trigger counts anything; null while they do", nullable=True
    ),
    _text("paused_by", "Who paused it", nullable=True),
    _text("reason", "Why", nullable=True),
    comment="One row per profile whose queue was ever folded, or which was ever paused",
)

cluster = Table(
    "cluster",
    metadata,
    _column(
        "cluster_id",
        Integer,
        "Always 1",
        server_default=text("1"),
        primary_key=True,
        autoincrement=False,
    ),
    _count(
        "system",
        "Identifier of the server that wrote the row, null where it may not be read",
        nullable=True,
    ),
    _xid(
        "xid",
        "Transaction that wrote the row: where its xmin is another, the row came from a dump",
        server_default=text("pg_current_xact_id()"),
    ),
    _count(
        "earlier",
        "Last number of a transaction of the servers before; those of this one are added to it",
        server_default=text("0"),
    ),
    _moment("moved_at", "When it was found to be this server"),
    CheckConstraint("cluster_id = 1", name="cluster_single_check"),
    comment="Which server this is: one row, by which a database restored from a dump knows that "
    "it is on another",
)
