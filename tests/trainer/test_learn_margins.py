"""A model that gives margins, calibrated: its first version of probabilities takes the place of margins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from rescore.tests.learning_shop import DEFINITION, LEARN, TABLES, actions, drawn, resolved, stream
from rescore.tests.support import contract_of, define, one
from rescore.trainer.compare import Rules, compare
from rescore.trainer.fit import Recipe, fit
from rescore.trainer.loop.learn import learn
from rescore.trainer.publish import publish

Connection = psycopg.Connection[Any]

HINGE = DEFINITION.replace("loss: log_loss", "loss: hinge").replace(
    "LEARN", f"calibrate: platt\n    {LEARN}"
)


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(plain_dsn, autocommit=True) as made:
        made.execute(TABLES.encode())
        define(made, HINGE)
        publish_margins(made, (0.8, -0.5))
        yield made


def publish_margins(conn: Connection, weights: tuple[float, float]) -> int:
    """Publish a version of these weights on standardized columns, whose scores are margins."""
    design, labels = drawn(np.random.default_rng(1), 4000)
    spec = {"sgd_classifier": {"loss": "hinge", "learning_rate": "constant", "eta0": 0.01}}
    made = fit(design, labels.astype(np.int8), Recipe(spec, passes=1))
    made[-1].coef_ = np.array([weights])
    return publish(made, model="churn", conn=conn, contract=contract_of(conn))


def test_probabilities_are_compared_with_margins_and_take_their_place(conn: Connection) -> None:
    stream(conn, 2000)
    made = learn(conn, "churn").rounds
    assert [each.action for each in made] == ["published", "published"]
    first = made[0].metrics["gate"]
    checks = {each["name"]: each for each in first["checks"]}
    assert checks["comparison"]["text"].startswith("log_loss ")
    losses = [first[side]["log_loss"]["estimate"] for side in ("candidate", "champion")]
    assert losses[0] == pytest.approx(losses[1], abs=0.02)
    assert 0.7 < checks["calibration_slope"]["numbers"]["champion"]["estimate"] < 1.3
    served = "SELECT min(score) > 0 AND max(score) < 1 FROM (SELECT rescore.predict('churn', p) AS score FROM customers AS p) AS s"
    conn.execute("INSERT INTO customers SELECT n, n, 10 FROM generate_series(1, 200) AS n")
    assert one(conn, served)


def test_worse_probabilities_do_not_take_the_place_of_good_margins(conn: Connection) -> None:
    publish_margins(conn, (1.5, -1.0))
    resolved(conn, *drawn(np.random.default_rng(5), 100, -1.0))  # a new line is tested on these
    text = HINGE.replace("margin: 0.02", "margin: 0.0").replace("eta0: 0.01", "eta0: 5")
    define(conn, text)
    stream(conn, 2000)
    assert set(actions(conn)) == {"refused"}


def test_too_few_to_calibrate_on_waits(conn: Connection) -> None:
    design, labels = drawn(np.random.default_rng(3), 6000)
    rare = np.r_[np.flatnonzero(labels == 0)[:990], np.flatnonzero(labels == 1)[:10]]
    order = np.random.default_rng(4).permutation(rare)
    resolved(conn, design[order], labels[order])
    (made,) = learn(conn, "churn").rounds
    assert made.action == "waiting"
    assert "with the outcome and" in made.reasons[0] and "30 of each are needed" in made.reasons[0]
    stream(conn, 2000, seed=9, day=2)
    assert learn(conn, "churn").rounds[0].version == 2
    calibrated = "SELECT memory #> '{calibration,slope}' FROM rescore.lineage WHERE version = 2"
    assert one(conn, calibrated) > 0


def test_margins_are_compared_by_what_can_be(conn: Connection) -> None:
    publish_margins(conn, (1.5, -1.0))
    stream(conn, 600)
    conn.execute("UPDATE rescore.snapshots SET others = jsonb_build_object('1', -score)")
    found = compare(conn, "churn", 2, 1)
    assert found.metric == "auc" and found.verdict == "better"


def test_accuracy_of_margins_is_compared_from_0_on(conn: Connection) -> None:
    publish_margins(conn, (1.5, -1.0))
    stream(conn, 600)
    conn.execute("UPDATE rescore.snapshots SET others = jsonb_build_object('1', score - 0.4)")
    found = compare(conn, "churn", 2, 1, rules=Rules(metric="accuracy"))
    right = "SELECT avg(((score > 0) = (label = 1))::int - ((score > 0.4) = (label = 1))::int)::float8 FROM rescore.snapshots"
    assert found.fixed.estimate == pytest.approx(one(conn, right), abs=1e-9)
