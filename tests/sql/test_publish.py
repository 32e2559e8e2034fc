"""Publishing, promoting, rolling back: all or nothing, in order, with a reason when refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from rescore.plpython import artifact

from .conftest import (
    SIMPLE,
    Model,
    call,
    deploy,
    linear_artifact,
    number,
    proof_of,
    value,
)

Make = Callable[..., Any]
Connection = psycopg.Connection[Any]
WEIGHTS = [0.1, 0.2, 0.3, 0.4, 0.5]


def serving(model: Model) -> Any:
    return value(model.conn, "SELECT rescore_compiled.churn_version()")


def score(model: Model) -> Any:
    return value(model.conn, "SELECT rescore.predict_payload('churn', '{\"orders\": 3}')")


def state(conn: Connection) -> Any:
    """All that a refused publish must leave alone."""
    return (
        conn.execute("SELECT model, version FROM rescore.models ORDER BY 1, 2").fetchall(),
        conn.execute("SELECT model, champion FROM rescore.deployments ORDER BY 1").fetchall(),
        conn.execute("SELECT id FROM rescore.deployment_history").fetchall(),
        conn.execute(
            "SELECT oid, xmin::text FROM pg_proc "
            "WHERE pronamespace = 'rescore_compiled'::regnamespace ORDER BY 1"
        ).fetchall(),
    )


def test_before_the_first_version_scores_are_null(model: Model) -> None:
    assert serving(model) is None
    assert score(model) is None
    assert value(model.conn, "SELECT rescore_compiled.churn_deferred()") is False


def test_a_version_serves_from_its_commit_on(model: Model) -> None:
    assert model.publish(WEIGHTS) == 1
    first = score(model)
    assert model.publish([-w for w in WEIGHTS], reason="worse") == 2
    assert (serving(model), first != score(model)) == (2, True)
    history = model.conn.execute(
        "SELECT action, version, previous, reason FROM rescore.deployment_history ORDER BY id"
    ).fetchall()
    assert history == [("publish", 1, None, None), ("publish", 2, 1, "worse")]


def test_a_rolled_back_publish_leaves_nothing_but_a_used_number(model: Model) -> None:
    model.publish(WEIGHTS)
    before = state(model.conn)
    with model.conn.transaction(force_rollback=True):
        assert model.publish(WEIGHTS) == 2
        assert serving(model) == 2
    assert state(model.conn) == before
    assert model.publish(WEIGHTS) == 3


def test_publishers_hear_no_notices(model: Model) -> None:
    said: list[str | None] = []
    model.conn.add_notice_handler(lambda notice: said.append(notice.message_primary))
    model.publish(WEIGHTS)
    model.publish(WEIGHTS)
    model.conn.execute("SELECT rescore.rollback('churn')")
    assert said == []


def test_candidates_only_serve_when_promoted(model: Model) -> None:
    model.publish(WEIGHTS)
    assert model.publish(WEIGHTS, candidate=True) == 2
    assert serving(model) == 1
    assert value(model.conn, "SELECT rescore.promote('churn', 2)") == 2
    assert serving(model) == 2


def test_rolling_back_twice_goes_further_back(model: Model) -> None:
    for _ in range(4):
        model.publish(WEIGHTS)
    assert [value(model.conn, "SELECT rescore.rollback('churn')") for _ in range(2)] == [3, 2]
    assert model.publish(WEIGHTS) == 5
    assert value(model.conn, "SELECT rescore.rollback('churn')") == 2
    assert value(model.conn, "SELECT rescore.rollback('churn', 1)") == 1
    with pytest.raises(psycopg.Error) as caught:
        model.conn.execute("SELECT rescore.rollback('churn')")
    assert caught.value.sqlstate == "RS010"
    assert serving(model) == 1


@pytest.mark.parametrize(
    ("query", "sqlstate"),
    [
        ("SELECT rescore.promote('churn', 9)", "RS006"),
        ("SELECT rescore.rollback('churn', 9)", "RS006"),
        ("SELECT rescore.rollback('churn')", "RS010"),
        ("SELECT rescore.promote('chrun', 1)", "RS001"),
        ("SELECT rescore.promote(NULL, 1)", "RS001"),
        ("SELECT rescore.publish('churn', '')", "RS002"),
        ("SELECT rescore.publish('churn', 'no pickle')", "RS002"),
        ("SELECT rescore.publish('churn', 'x', format => 'onnx')", "RS002"),
    ],
)
def test_wrong_calls(model: Model, query: str, sqlstate: str) -> None:
    model.publish(WEIGHTS)
    before = state(model.conn)
    with pytest.raises(psycopg.Error) as caught:
        model.conn.execute(query.encode())
    assert caught.value.sqlstate == sqlstate
    assert caught.value.diag.message_hint
    assert state(model.conn) == before


def changed(**given: Any) -> dict[str, Any]:
    return given


LINEAR = {"weights": WEIGHTS, "intercept": 0.25, "link": "logistic"}


@pytest.mark.parametrize(
    ("given", "sqlstate", "message"),
    [
        ({"sha256": "0" * 64}, "RS002", "SHA-256"),
        ({"linear": Jsonb(LINEAR | {"link": "tanh"})}, "RS002", "not a linear form"),
        ({"linear": Jsonb(LINEAR | {"extra": 1})}, "RS002", "not a linear form"),
        ({"linear": Jsonb([])}, "RS002", "not a linear form"),
        ({"linear": Jsonb(LINEAR | {"weights": WEIGHTS[1:]})}, "RS004", "4 weights for 5"),
        (
            {"linear": Jsonb(LINEAR | {"weights": [*WEIGHTS[1:], "1); DROP TABLE x"]})},
            "RS005",
            "weight 5",
        ),
        ({"linear": Jsonb(LINEAR | {"weights": [*WEIGHTS[1:], 1e101]})}, "RS005", "weight 5"),
        (
            {"linear": Jsonb(LINEAR | {"weights": [*WEIGHTS[1:], 0.6]})},
            "RS003",
            "compiled function",
        ),
        (
            {"contract": Jsonb({"inputs": [*SIMPLE[:3], number("other")]})},
            "RS004",
            "no input other",
        ),
        (
            {"contract": Jsonb({"inputs": [*SIMPLE[:3], dict(SIMPLE[3], kind="days_until")]})},
            "RS004",
            "otherwise",
        ),
        (
            {"contract": Jsonb({"inputs": [dict(SIMPLE[1], nullable=False), *SIMPLE[2:]]})},
            "RS004",
            "otherwise",
        ),
        ({"probes": Jsonb([])}, "RS003", "scores for 0 probes"),
        ({"expected": [0.5]}, "RS003", "1 scores for"),
        ({"expected": [float("nan")] * 200}, "RS005", "expected score"),
        ({"parent": 9}, "RS006", "no version 9"),
    ],
)
def test_wrong_numbers_are_refused(
    model: Model, given: dict[str, Any], sqlstate: str, message: str
) -> None:
    model.publish(WEIGHTS)
    before = state(model.conn)
    with pytest.raises(psycopg.Error, match=message) as caught:
        model.publish(WEIGHTS, **given)
    assert caught.value.sqlstate == sqlstate
    assert state(model.conn) == before


def test_publishing_an_artefact_proves_it_in_the_server(model: Model) -> None:
    data = linear_artifact(WEIGHTS)
    proof = proof_of(data, model.contract)
    arguments = {"model": "churn", "artifact": data, "expected": proof.expected}
    assert call(model.conn, "publish", arguments) == 1
    row = model.conn.execute(
        "SELECT engine, sha256, linear, library_versions FROM rescore.models"
    ).fetchone()
    assert row is not None
    assert row[:3] == ("compiled", proof.sha256, proof.linear.to_json() if proof.linear else None)
    assert "scikit-learn" in row[3]


def test_other_scores_than_the_trainers_are_refused(model: Model) -> None:
    data = linear_artifact(WEIGHTS)
    expected = proof_of(data, model.contract).expected
    expected[7] += 1e-6
    with pytest.raises(psycopg.Error, match="the trainer scores") as caught:
        call(model.conn, "publish", {"model": "churn", "artifact": data, "expected": expected})
    assert caught.value.sqlstate == "RS003"


def naive_bayes(columns: int) -> bytes:
    import numpy as np
    from sklearn.naive_bayes import GaussianNB

    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, columns))
    return artifact.dump(GaussianNB().fit(x, x[:, 0] > 0), "joblib")


def test_what_is_not_linear_is_scored_from_the_artefact(model: Model) -> None:
    call(model.conn, "publish", {"model": "churn", "artifact": naive_bayes(5)})
    assert value(model.conn, "SELECT rescore_compiled.churn_deferred()") is True
    assert 0 <= score(model) <= 1
    assert value(model.conn, "SELECT to_regproc('rescore_compiled.churn_v1')") is None


def test_engine_python_scores_linear_models_from_the_artefact(make: Make) -> None:
    compiled, forced = make(SIMPLE), make(SIMPLE, "forced", engine="python")
    data = linear_artifact(WEIGHTS)
    scores = []
    for model in (compiled, forced):
        call(model.conn, "publish", {"model": model.name, "artifact": data})
        query = 'SELECT rescore.predict_payload(%s, \'{"orders": 3, "spend": 7}\')'
        scores.append(value(model.conn, query, (model.name,)))
    assert scores[0] == pytest.approx(scores[1], abs=1e-12)
    assert value(forced.conn, "SELECT rescore_compiled.forced_deferred()") is True


def test_open_categories_are_told_by_the_artefact(make: Make, conn: Connection) -> None:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    make([{"name": "country", "type": "text", "kind": "category", "top": 3, "other": False}])
    fitted = LogisticRegression().fit(np.eye(2), [0, 1])
    unnamed = artifact.dump(fitted, "joblib")
    with pytest.raises(psycopg.Error) as caught:
        call(conn, "publish", {"model": "churn", "artifact": unnamed})
    assert caught.value.sqlstate == "RS004"
    fitted.feature_names_in_ = np.array(["country=DE", "country=FR"], dtype=object)
    call(conn, "publish", {"model": "churn", "artifact": artifact.dump(fitted, "joblib")})
    found = value(conn, "SELECT contract -> 'inputs' -> 0 -> 'categories' FROM rescore.models")
    assert found == ["DE", "FR"]


def test_without_python_linear_models_work_in_full(plain_db: Connection) -> None:
    plain_db.autocommit = True
    model = deploy(plain_db, SIMPLE)
    assert [model.publish(WEIGHTS), model.publish([2 * w for w in WEIGHTS])] == [1, 2]
    assert value(plain_db, "SELECT rescore.rollback('churn')") == 1
    assert 0 < score(model) < 1
    deploy(plain_db, SIMPLE, engine="python")
    for refused in (
        lambda: call(plain_db, "publish", {"model": "churn", "artifact": b"x"}),
        lambda: model.publish(WEIGHTS),
        lambda: plain_db.execute("SELECT rescore.verify_model('churn')"),
    ):
        with pytest.raises(psycopg.Error) as caught:
            refused()
        assert caught.value.sqlstate == "RS007"


def test_publishing_is_granted_by_name(model: Model) -> None:
    model.publish(WEIGHTS)
    model.conn.execute("CREATE ROLE analyst")
    model.conn.execute("GRANT rescore_reader TO analyst")
    model.conn.execute("SET ROLE analyst")
    assert 0 < score(model) < 1
    for query in ("SELECT rescore.rollback('churn')", "SELECT rescore.promote('churn', 1)"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            model.conn.execute(query.encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        model.conn.execute("SELECT artifact FROM rescore.models")
    model.conn.execute("RESET ROLE")
    model.conn.execute("GRANT EXECUTE ON FUNCTION rescore.promote TO analyst")
    model.conn.execute("SET ROLE analyst")
    assert value(model.conn, "SELECT rescore.promote('churn', 1)") == 1
    model.conn.execute("RESET ROLE")
    model.conn.execute("DROP OWNED BY analyst")
    model.conn.execute("DROP ROLE analyst")


def test_an_artefact_is_proven_before_it_waits_for_other_publishers(model: Model, dsn: str) -> None:
    """To import scikit-learn takes seconds, which nobody else's publish is to wait for."""
    data = linear_artifact(WEIGHTS)
    wrong = {"model": "churn", "artifact": data, "expected": [0.5] * 200}
    with psycopg.connect(dsn) as other, psycopg.connect(dsn, autocommit=True) as here:
        other.execute("SELECT rescore._lock()")
        here.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.Error, match="the trainer scores"):
            call(here, "publish", wrong)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            call(here, "publish", {"model": "churn", "artifact": data})
