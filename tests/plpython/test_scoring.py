"""Scoring and proving inside PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.testing import assert_allclose
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from rescore.plpython import artifact
from rescore.plpython.contract import Contract, Input
from rescore.plpython.prediction import score
from rescore.plpython.proof import prove
from rescore.plpython.scoring import CACHED_MODELS
from rescore.server.libraries import python_path

X = np.random.default_rng(5).normal(size=(60, 3))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
CONTRACT = Contract(tuple(Input(name, "float8", "number") for name in "abc"))

Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(empty_dsn: str) -> Iterator[Connection]:
    paths = repr([str(path) for path in python_path()])
    script = (Path(__file__).parent / "scoring.sql").read_text().replace("PYTHON_PATH", paths)
    with psycopg.connect(empty_dsn, autocommit=True) as opened:
        opened.execute(script)
        yield opened


def publish(connection: Connection, version: int, model: Any, digest: str | None = None) -> Any:
    data = artifact.dump(model.fit(X, Y), "joblib")
    connection.execute(
        "INSERT INTO rescore.models VALUES ('churn', %s, %s, 'joblib', %s)",
        [version, data, digest or artifact.sha256(data)],
    )
    return model


def scored(connection: Connection, version: int, rows: Any = X) -> list[float]:
    found = connection.execute(
        "SELECT score_rows('churn', %s, %s, 3)", [version, np.ravel(rows).tolist()]
    ).fetchone()
    assert found is not None
    return list(found[0])


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        GaussianNB(),
        RandomForestClassifier(n_estimators=5, n_jobs=4, verbose=1),
        HistGradientBoostingClassifier(max_iter=5),
    ],
    ids=lambda model: type(model).__name__,
)
def test_rows_are_scored_as_outside_and_without_threads(connection: Connection, model: Any) -> None:
    publish(connection, 1, model)
    assert_allclose(scored(connection, 1), score(model, X), rtol=1e-12)
    assert connection.execute("SELECT threads()").fetchone() == (1,)


def test_as_many_versions_stay_loaded_as_the_bound_says(connection: Connection) -> None:
    for version in range(1, CACHED_MODELS + 3):
        publish(connection, version, GaussianNB())
    for version in range(1, CACHED_MODELS + 3):
        scored(connection, version)
        scored(connection, 2)
    found = connection.execute("SELECT cached_versions()").fetchone()
    assert found is not None
    kept = found[0].split()
    assert len(kept) == CACHED_MODELS
    assert kept[-1] == "churn:2"
    assert "churn:1" not in kept


def test_loaded_version_needs_no_row(connection: Connection) -> None:
    publish(connection, 1, GaussianNB())
    before = scored(connection, 1)
    connection.execute("DELETE FROM rescore.models")
    assert scored(connection, 1) == before


def sqlstate(connection: Connection, call: Any) -> tuple[str | None, str, str]:
    with pytest.raises(psycopg.Error) as raised:
        call(connection)
    diagnosis = raised.value.diag
    return diagnosis.sqlstate, diagnosis.message_primary or "", diagnosis.message_hint or ""


def test_missing_version_is_an_sql_error(connection: Connection) -> None:
    state, message, hint = sqlstate(connection, lambda c: scored(c, 7))
    assert state == "RS006"
    assert "model 'churn' has no version 7 that this transaction can see" in message
    assert "before the version was published" in hint


def test_artefact_changed_in_the_table_is_refused(connection: Connection) -> None:
    publish(connection, 1, GaussianNB(), digest="0" * 64)
    state, message, hint = sqlstate(connection, lambda c: scored(c, 1))
    assert state == "RS002"
    assert "does not match its SHA-256" in message
    assert hint


def test_incomplete_rows_are_refused(connection: Connection) -> None:
    publish(connection, 1, GaussianNB())
    state, message, _ = sqlstate(connection, lambda c: scored(c, 1, [1.0, 2.0]))
    assert state == "RS009"
    assert "2 values are no rows of 3 columns" in message


PROVE = "SELECT prove(%s, 'joblib', %s, 50, %s)"


def test_proof_inside_equals_proof_outside(connection: Connection) -> None:
    data = artifact.dump(LogisticRegression().fit(X, Y), "joblib")
    outside = prove(data, "joblib", CONTRACT, 50)
    arguments = [data, json.dumps(CONTRACT.to_json()), outside.expected]
    found = connection.execute(PROVE, arguments).fetchone()
    assert found is not None
    assert json.loads(found[0]) == outside.to_json()


def test_refusal_inside_is_an_sql_error(connection: Connection) -> None:
    contract = json.dumps(CONTRACT.to_json())
    data = artifact.dump(LogisticRegression().fit(X, Y), "joblib")
    for arguments, expected in [
        ([b"\x80\x04cos\nsystem\n.", contract, None], "RS002"),
        ([data, contract, [0.0] * 50], "RS003"),
        ([data, '{"inputs": []}', None], "RS004"),
    ]:
        state, _, _ = sqlstate(connection, lambda c, a=arguments: c.execute(PROVE, a))
        assert state == expected
