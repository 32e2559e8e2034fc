"""Every estimator that learns on, over one profile: snapshot, learn, publish, and what is served."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import psycopg
import pytest
from scipy.special import expit

from rescore.plpython.prediction import score
from rescore.tests.support import contract_of, define, one
from rescore.trainer.fit import Recipe, fit
from rescore.trainer.loop.learn import learn
from rescore.trainer.loop.state import read_state
from rescore.trainer.publish import publish

Connection = psycopg.Connection[Any]
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
CUSTOMERS = 400
LEARN = "learn: {batch: 100, examples: 400, metric: auc, margin: 1, suspect: 60%%, limits: {scores: 1000, weights: 1000}, minimum: {customers: 40, positives: 5, negatives: 5}%s}"

ESTIMATORS: dict[str, tuple[str, str]] = {
    "logit": (
        "{sgd_classifier: {loss: log_loss, average: true, learning_rate: constant, eta0: 0.02}}",
        ", half_life: 90 days",
    ),
    "falling": ("{sgd_classifier: {loss: log_loss}}", ", rate: {eta0: 0.05, alpha: 1.0e-3}"),
    "adaptive": ("{sgd_classifier: {loss: log_loss, learning_rate: adaptive, eta0: 0.02}}", ""),
    "huber": ("{sgd_classifier: {loss: modified_huber, learning_rate: constant, eta0: 0.01}}", ""),
    "hinge": (
        "{sgd_classifier: {loss: hinge, learning_rate: constant, eta0: 0.01}}",
        ", balance: balanced",
    ),
    "linear": ("{sgd_regressor: {loss: epsilon_insensitive}}", ""),
    "perceptron": ("{perceptron: {}}", ""),
    "passive": ("{passive_aggressive_classifier: {}}", ""),
    "passive_number": ("{passive_aggressive_regressor: {}}", ""),
    "gauss": ("{gaussian_nb: {}}", ", half_life: 90 days"),
    "bernoulli": ("{bernoulli_nb: {}}", ""),
    "counting": ("{multinomial_nb: {}}", ""),
    "net": ("{mlp_classifier: {hidden_layer_sizes: [4]}}", ""),
}
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}, clock: session, only: "active"}
events: {orders: {time: ordered_at}}
features: {spend: {column: spend, missing: indicator}, visits: {column: visits}}
labels: {churned: {none: orders, within: 30 days}}
snapshot: {every: 1 day}
models:
%s
scores:
  score: {model: logit}
  mixed: {ensemble: {logit: 0.5, gauss: 0.3, falling: 0.2}}
"""


def definition() -> str:
    models = [
        f"  {name}:\n    label: churned\n    estimator: {spec}\n    scaler: {scaler(name)}\n    {LEARN % more}"
        for name, (spec, more) in ESTIMATORS.items()
    ]
    return DEFINITION % "\n".join(models)


def scaler(name: str) -> str:
    return "none" if name == "counting" else "standard"


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as made:
        made.execute(
            """CREATE TABLE customers (customer_id bigint PRIMARY KEY, spend float8, visits float8, active bool DEFAULT true);
               CREATE TABLE orders (customer_id bigint, ordered_at timestamptz);
               CREATE INDEX ON orders (customer_id, ordered_at);"""
        )
        rows(made, 0)
        at(made, BEGIN)
        yield made


def rows(conn: Connection, seed: int) -> Any:
    """Give every customer new numbers; return them, shape (customers, 2)."""
    raw = np.random.default_rng(seed).normal(size=(CUSTOMERS, 2)) * [20, 3] + [100, 20]
    conn.execute(
        "CREATE TEMP TABLE IF NOT EXISTS fresh (k bigint, s float8, v float8); TRUNCATE fresh"
    )
    with conn.cursor().copy("COPY fresh FROM STDIN") as copy:
        for key, (spend, visits) in enumerate(raw.tolist(), 1):
            copy.write_row((key, spend, visits))
    conn.execute(
        """INSERT INTO customers SELECT k, s, v FROM fresh
           ON CONFLICT (customer_id) DO UPDATE SET spend = excluded.spend, visits = excluded.visits"""
    )
    return raw


def at(conn: Connection, moment: datetime) -> None:
    conn.execute("SELECT set_config('rescore.clock', %s, false)", [moment.isoformat()])


def outcomes(raw: Any, seed: int) -> Any:
    chance = expit((raw - [100, 20]) / [20, 3] @ [1.5, -1.0])
    return (np.random.default_rng(seed).random(len(raw)) < chance).astype(float)


def live(conn: Connection, day: int, labels: Any) -> None:
    """Snapshot everybody; those who stay order; a horizon later outcomes are known."""
    moment = BEGIN + timedelta(days=day)
    at(conn, moment)
    conn.execute("SELECT rescore.snapshot('customers')")
    with conn.cursor().copy("COPY orders FROM STDIN") as copy:
        for key in np.flatnonzero(labels == 0).tolist():
            copy.write_row((key + 1, moment + timedelta(days=7)))
    at(conn, moment + timedelta(days=31))
    conn.execute("SELECT rescore.resolve('customers')")


def start(conn: Connection, *models: str) -> None:
    """Publish first versions that have seen other customers."""
    rng = np.random.default_rng(77)
    raw = rng.normal(size=(600, 2)) * [20, 3] + [100, 20]
    labels = outcomes(raw, 78).astype(np.int8)
    missing = (rng.random(600) < 0.05).astype(float)
    design = np.column_stack([raw[:, 0] * (1 - missing), missing, raw[:, 1]])
    specs = one(
        conn, "SELECT jsonb_object_agg(model, spec -> 'estimator') FROM rescore.deployments"
    )
    for model in models:
        made = fit(design, labels, Recipe(specs[model], scaler(model), passes=3))
        publish(made, model=model, conn=conn, contract=contract_of(conn, model))


def agreeing(conn: Connection, model: str) -> None:
    """Hold what is served against what scikit-learn says of the same design rows."""
    champion = read_state(conn, model).champion
    found = conn.execute(
        "SELECT rescore.predict_key(%s, customer_id), spend, visits FROM customers ORDER BY customer_id",
        [model],
    ).fetchall()
    served, spend, visits = (np.array(each, dtype=float) for each in zip(*found, strict=True))
    bad = ~np.isfinite(spend)
    design = np.column_stack(
        [np.where(bad, 0, spend), bad, np.where(np.isfinite(visits), visits, 0)]
    )
    expected = score(champion.estimator, design)
    assert np.max(np.abs(served - expected) / np.maximum(1, np.abs(expected))) < 1e-9, model


def test_every_estimator_learns_from_snapshots_and_serves_what_it_says(conn: Connection) -> None:
    define(conn, definition())
    start(conn, *ESTIMATORS)
    for day, seed in ((0, 1), (40, 2)):
        live(conn, day, outcomes(rows(conn, seed), seed + 50))
    for model in ESTIMATORS:
        made = learn(conn, model).rounds
        told = [(model, each.action, each.reasons) for each in made]
        assert [each.action for each in made] == ["published", "published"], told
        assert all(each.examples > 280 for each in made)
        assert made[-1].metrics["gate"]["candidate"]["auc"]["estimate"] > 0.6, model
        agreeing(conn, model)
    conn.execute("SELECT rescore.rebuild('customers')")
    wrong = """SELECT count(*) FROM customers AS p WHERE NOT (abs(mixed - (0.5 * rescore.predict('logit', p)
               + 0.3 * rescore.predict('gauss', p) + 0.2 * rescore.predict('falling', p))) < 1e-9)"""
    assert one(conn, wrong) == 0


@pytest.mark.long
def test_storms_of_nan_constants_one_outcome_and_nothing_at_all(conn: Connection) -> None:
    define(conn, definition())
    models = ("logit", "huber", "gauss", "counting", "passive", "net")
    start(conn, *models)
    first = outcomes(rows(conn, 1), 51)
    live(conn, 0, first)
    conn.execute(
        "UPDATE customers SET spend = (ARRAY['NaN', 'Infinity', '-Infinity', NULL]::float8[])[1 + customer_id % 4] WHERE customer_id % 5 > 0"
    )
    live(conn, 40, outcomes(np.full((CUSTOMERS, 2), [100.0, 20.0]), 52))
    rows(conn, 3)
    live(conn, 80, np.ones(CUSTOMERS))
    live(conn, 120, np.zeros(CUSTOMERS))
    conn.execute("UPDATE customers SET spend = 100, visits = 20")
    live(conn, 160, first)
    conn.execute("UPDATE customers SET active = false")
    live(conn, 200, first)  # nobody is scored
    conn.execute(
        "UPDATE customers SET active = true, spend = CASE WHEN customer_id % 2 = 0 THEN 'NaN'::float8 ELSE 80 END"
    )
    for model in models:
        made = learn(conn, model).rounds
        learnt = sum(each.examples for each in made)
        assert len(made) == 5 and learnt > 5 * 280, (model, [each.action for each in made])
        assert all(each.version for each in made)
        agreeing(conn, model)
        assert [each.action for each in learn(conn, model).rounds] == ["nothing"]
