"""Artefacts made to do harm are refused, here and in the server, with bounded memory and time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import psycopg
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from rescore.errors import ArtefactRefused, RescoreError
from rescore.plpython import artifact, limits
from rescore.plpython.limits import Limit
from rescore.plpython.prediction import score
from rescore.tests.security import corpus_models, corpus_skops
from rescore.tests.security.corpus import MODULE, Hostile, X, Y, corpus, logistic, pickled
from rescore.tests.sql.conftest import SIMPLE, deploy, value
from rescore.tests.support import define, one
from rescore.trainer.publish import publish

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def playground() -> Iterator[Path]:
    """A directory that any account may write to."""
    made = Path(tempfile.mkdtemp(prefix="rescore-canary-"))
    made.chmod(0o777)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def canary(playground: Path) -> Path:
    return playground / "canary"


@pytest.fixture(scope="module")
def hostile(canary: Path) -> list[Hostile]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = corpus(canary)
    assert len(made) > 900
    assert not canary.exists()
    return made


def test_every_hostile_file_is_refused_and_nothing_happens(
    hostile: list[Hostile], canary: Path, tmp_path: Path
) -> None:
    for number, each in enumerate(hostile):
        (tmp_path / f"{number:04}.{each.format}").write_bytes(each.data)
    for name in ("forest", "stages", "histogram", "layers", "pipeline"):
        model = corpus_models.fitted(name)
        (tmp_path / f"good-{name}.pickle").write_bytes(pickled(model))
        (tmp_path / f"good-{name}.skops").write_bytes(skops.io.dumps(model))
    program = [sys.executable, str(Path(__file__).with_name("bounded.py")), str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=600, check=False)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (results[-1:], done.stderr[-2000:])
    *results, peak = results
    assert peak["peak"] < 2**30
    good = [r for r in results if r["name"].startswith("good")]
    assert all(r["outcome"].startswith("loaded") for r in good) and len(good) == 10
    bad = [r for r in results if not r["name"].startswith("good")]
    assert len(bad) == len(hostile)
    wrong = [
        (hostile[int(r["name"][:4])].name, r)
        for r in bad
        if not r["outcome"].startswith("refused") or r["deeds"]
    ]
    assert wrong == []
    assert not canary.exists()


def test_the_canary_would_be_seen(hostile: list[Hostile], canary: Path) -> None:
    import pickle

    (data,) = [h.data for h in hostile if h.name == "os.system, alone" and h.format == "pickle"]
    pickle.loads(data)
    assert canary.exists()
    canary.unlink()


class Backend:
    """A superuser's session that acts as somebody who may publish and nothing else."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self.pid = conn.info.backend_pid
        self.role = f"publisher_{conn.info.dbname}"
        name = sql.Identifier(self.role)
        conn.execute(sql.SQL("CREATE ROLE {} IN ROLE rescore_trainer").format(name))
        conn.execute(sql.SQL("SET ROLE {}").format(name))

    def publish(self, each: Hostile) -> str | None:
        """Return the SQLSTATE of publishing a file; None if it was published."""
        # Python in the server hears no signal but this one while it computes.
        watchdog = Timer(120, os.kill, (self.pid, signal.SIGKILL))
        watchdog.start()
        try:
            query = "SELECT rescore.publish('churn', %s, format => %s)"
            self.conn.execute(query, (each.data, each.format))
        except psycopg.Error as error:
            return error.sqlstate
        finally:
            watchdog.cancel()
        return None

    def leave(self) -> None:
        self.conn.execute("RESET ROLE")
        self.conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(self.role)))

    def peak(self) -> int:
        """Return the most memory the server's process has had, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024


def _for_the_server(hostile: list[Hostile]) -> list[Hostile]:
    """All kinds of files; of the calls, one place of each; of the compressors, one."""
    kinds = ("opcode", "model", "bomb", "schema", "skops model", "zip")
    slow = {f"bomb: {method}" for method in ("gzip", "bz2", "xz", "lzma")}
    return [
        each
        for each in hostile
        if (each.name.split(":")[0] in kinds and each.name not in slow)
        or (each.name.endswith(", parameter") and each.format == "joblib")
    ]


@pytest.mark.long
def test_the_server_refuses_them_from_whoever_may_publish(
    db: Connection, hostile: list[Hostile], canary: Path
) -> None:
    db.autocommit = True
    deploy(db, SIMPLE)
    backend = Backend(db)
    files = _for_the_server(hostile)
    assert len(files) > 300
    states = [(each.name, each.format, backend.publish(each)) for each in files]
    assert [found for found in states if found[2] != "RS002"] == []
    assert backend.peak() < 2**30
    backend.leave()
    assert not canary.exists()
    assert value(db, "SELECT count(*) FROM rescore.models") == 0
    imported = (
        "DO $$ import sys; assert not {'%s', 'pty'} & set(sys.modules) $$ LANGUAGE plpython3u"
    )
    db.execute((imported % MODULE).encode())


def test_the_canary_would_be_seen_in_the_server(db: Connection, canary: Path) -> None:
    db.execute(sql.SQL("COPY (SELECT 1) TO PROGRAM {}").format(f"cat > {canary}"))
    assert canary.exists()
    canary.unlink()


def test_a_reference_in_a_skops_file_replaces_nothing() -> None:
    model = corpus_models.fitted("tree")
    data = corpus_skops.edited(skops.io.dumps(model), corpus_skops.replaced_by_number)
    loaded, _ = artifact.load_with_warnings(data, "skops")
    assert loaded.tree_.n_outputs == 1
    assert score(loaded, X).tolist() == score(model, X).tolist()


MODELS = {
    "logistic": LogisticRegression().fit(X, Y),
    "tree": DecisionTreeClassifier().fit(X, Y),
    "pipeline": corpus_models.fitted("pipeline"),
}


def flipped(data: bytes, bits: list[int]) -> bytes:
    damaged = bytearray(data)
    for bit in bits:
        damaged[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(damaged)


@settings(max_examples=250)
@given(
    name=st.sampled_from(sorted(MODELS)),
    format=st.sampled_from(["joblib", "skops"]),
    bits=st.lists(st.integers(0, 10**6), min_size=1, max_size=4),
)
def test_flipped_bits_are_refused_or_change_nothing(name: str, format: Any, bits: Any) -> None:
    model = MODELS[name]
    data = flipped(artifact.dump(model, format), bits)
    try:
        loaded, _ = artifact.load_with_warnings(data, format)
    except ArtefactRefused:
        return
    assert type(loaded) is type(model)
    assert score(loaded, X).tolist() == score(model, X).tolist()


@settings(max_examples=250)
@given(
    name=st.sampled_from(sorted(MODELS)),
    bits=st.lists(st.integers(0, 10**6), min_size=1, max_size=4),
)
def test_flipped_bits_of_files_without_a_checksum_do_no_harm(name: str, bits: Any) -> None:
    """A plain pickle with another weight is another model: only its digest tells."""
    model = MODELS[name]
    data = flipped(artifact.dump(model, "pickle"), bits)
    try:
        loaded, _ = artifact.load_with_warnings(data, "pickle")
        assert type(loaded) is type(model)
        assert np.isfinite(score(loaded, X)).all()
    except RescoreError:
        pass
    except (TypeError, ValueError, AttributeError, IndexError):
        pass  # attributes that do not fit together, which proving refuses


LIMITED: dict[str, tuple[str, Any, artifact.Format]] = {
    "BYTES": ("bytes", logistic(), "joblib"),
    "UNPACKED": ("bytes when decompressed", logistic(), "joblib"),
    "STEPS": ("steps of unpickling", logistic(), "pickle"),
    "ARRAYS": ("arrays", logistic(), "pickle"),
    "ELEMENTS": ("elements", logistic(), "pickle"),
    "DEPTH": ("levels of nesting", corpus_models.fitted("pipeline"), "pickle"),
    "DIMENSIONS": ("dimensions of an array", logistic(), "pickle"),
    "KEYS": ("keys in one dictionary", logistic(), "pickle"),
    "COLUMNS": ("design columns", logistic(), "pickle"),
    "CLASSES": ("classes or outputs", logistic(), "pickle"),
    "UNITS": ("units in one layer", corpus_models.fitted("layers"), "pickle"),
    "PIPELINE": ("steps in its Pipeline", corpus_models.fitted("pipeline"), "pickle"),
    "SCHEMA": ("bytes in its schema", logistic(), "skops"),
    "BRACKETS": ("braces and brackets in its schema", logistic(), "skops"),
    "NODES": ("objects in its schema", logistic(), "skops"),
}


@pytest.mark.parametrize("name", LIMITED)
def test_every_limit_is_kept_and_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    what, model, format = LIMITED[name]
    data = artifact.dump(model, format)
    assert artifact.load_with_warnings(data, format)
    monkeypatch.setattr(limits, name, Limit(what, 1))
    with pytest.raises(ArtefactRefused, match=rf"artefact has \d+ {what}, more than 1\n") as caught:
        artifact.load_with_warnings(data, format)
    assert caught.value.hint


def test_there_is_a_test_of_every_limit() -> None:
    found = {name for name, value in vars(limits).items() if isinstance(value, Limit)}
    assert found == {*LIMITED, "PROBES"}


def test_sql_knows_the_same_limits(db: Connection) -> None:
    db.autocommit = True
    deploy(db, SIMPLE)
    for limit in (limits.BYTES, limits.COLUMNS, limits.PROBES):
        assert value(db, "SELECT rescore._limit(%s)", (limit.what,)) == limit.most
    too_large = "convert_to(repeat('x', 67108865), 'UTF8')"
    linear = """jsonb_build_object('link', 'logistic', 'intercept', 0, 'weights',
                    (SELECT jsonb_agg(0) FROM generate_series(1, 10001)))"""
    digest = "encode(sha256('x'), 'hex')"
    for query, message in (
        (f"SELECT rescore.publish('churn', {too_large})", "67108865 bytes, more than 67108864"),
        (
            f"SELECT rescore.publish_linear('churn', {too_large}, '', {linear}, '{{}}', '[]', '{{}}')",
            "67108865 bytes, more than 67108864",
        ),
        (
            f"SELECT rescore.publish_linear('churn', 'x', {digest}, {linear}, '{{}}', '[]', '{{}}')",
            "10001 design columns, more than 10000",
        ),
        (
            "SELECT rescore.publish('churn', 'x', expected => array_fill(0.5::float8, ARRAY[1001]))",
            "1001 probes, more than 1000",
        ),
    ):
        with pytest.raises(psycopg.Error, match=message) as caught:
            db.execute(query.encode())
        assert caught.value.sqlstate == "RS002"


def test_names_no_database_can_store_are_refused_all_the_same(db: Connection) -> None:
    """A message with a zero byte, or half a character, must not hide why."""
    db.autocommit = True
    deploy(db, SIMPLE)
    model = LogisticRegression().fit(np.eye(2, 5), [0, 1])
    for name in ("a\0b", "\ud800", "x" * 100_000):
        model.feature_names_in_ = np.array([name, "b", "c", "d", "e"], dtype=object)
        data = pickled(model)
        with pytest.raises(psycopg.Error) as caught:
            db.execute("SELECT rescore.publish('churn', %s, format => 'pickle')", (data,))
        assert caught.value.sqlstate == "RS004"
        assert len(str(caught.value)) < 10_000


SHOP = """
profile:
  table: customers
  key: {name: customer_id, type: bigint}
events:
  orders: {time: at}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
labels:
  churned: {none: orders, within: 60 days}
models: {churn: {label: churned, features: all}}
scores: {churn_score: {model: churn}}
"""


def test_a_bit_flipped_in_the_table_stops_scores_and_no_event(db: Connection, dsn: str) -> None:
    db.autocommit = True
    db.execute("CREATE TABLE orders (customer_id bigint, at timestamptz, amount numeric)")
    db.execute("CREATE INDEX ON orders (customer_id)")
    define(db, SHOP)
    x = np.random.default_rng(1).normal(size=(60, 2))
    publish(GaussianNB().fit(x, x[:, 0] > 0), model="churn", conn=db)
    insert = "INSERT INTO orders VALUES (1, now(), 5)"
    state = "SELECT orders, spend, churn_score_at IS NULL FROM customers"
    with psycopg.connect(dsn, autocommit=True) as before:
        before.execute(insert.encode())
        assert one(before, state) == (1, 5, False)
    db.execute("ALTER TABLE rescore.models DISABLE TRIGGER immutable")
    db.execute(
        "UPDATE rescore.models SET artifact = set_bit(artifact, 4321, 1 - get_bit(artifact, 4321))"
    )
    db.execute("ALTER TABLE rescore.models ENABLE TRIGGER immutable")
    with psycopg.connect(dsn, autocommit=True) as after:
        with pytest.raises(psycopg.Error, match="does not match its SHA-256") as caught:
            after.execute("SELECT rescore.predict_payload('churn', '{}')")
        assert caught.value.sqlstate == "RS002"
        after.execute(insert.encode())
        assert one(after, state) == (2, 10, True)
        found = after.execute("SELECT profile, sqlstate FROM rescore.incidents").fetchall()
    assert found == [("customers", "RS002")]


def test_scalers_before_a_model_count_too() -> None:
    model = corpus_models.fitted("pipeline")
    model.steps.insert(0, ("again", StandardScaler().fit(X)))
    assert artifact.load_with_warnings(artifact.dump(model, "joblib"), "joblib")
