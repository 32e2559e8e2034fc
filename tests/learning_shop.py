"""What the tests of learning are about: customers with two numbers, whose outcomes are drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import psycopg
from scipy.special import expit

from rescore.plpython.prediction import score
from rescore.tests.support import contract_of, define, one
from rescore.trainer.loop.learn import learn
from rescore.trainer.loop.state import read_state
from rescore.trainer.publish import publish

Connection = psycopg.Connection[Any]

DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}, clock: session}
events: {orders: {time: ordered_at}}
features: {spend: {column: spend}, visits: {column: visits}}
labels: {churned: {none: orders, within: 30 days}}
models:
  churn:
    label: churned
    estimator: {sgd_classifier: {loss: log_loss, alpha: 1.0e-4, learning_rate: constant, eta0: 0.01}}
    LEARN
scores: {churn_score: {model: churn}}
"""
TABLES = """
CREATE TABLE customers (customer_id bigint PRIMARY KEY, spend float8 NOT NULL, visits float8 NOT NULL);
CREATE TABLE orders (customer_id bigint, ordered_at timestamptz);
CREATE INDEX ON orders (customer_id);
"""
LEARN = "learn: {batch: 100, examples: 1000, margin: 0.02, minimum: {customers: 100, positives: 20, negatives: 20}}"
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
WEIGHTS = np.array([1.5, -1.0])
SCALES, CENTRES = np.array([20.0, 3.0]), np.array([100.0, 10.0])


def shop(conn: Connection, learn: str = LEARN) -> None:
    """A profile whose model is served by a version that knows next to nothing."""
    conn.execute(TABLES.encode())
    define(conn, DEFINITION.replace("LEARN", learn))
    publish_start(conn)


@contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    """Yield a connection to a database that has such a profile."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        shop(conn)
        yield conn


def publish_start(conn: Connection, weights: Any = (0.8, -0.5)) -> int:
    """Publish a version with these weights on standardized columns."""
    design, labels = drawn(np.random.default_rng(1), 4000)
    return publish(
        fitted(design, labels, np.asarray(weights)), model="churn", conn=conn,
        contract=contract_of(conn),
    )  # fmt: skip


def fitted(design: Any, labels: Any, weights: Any) -> Any:
    from rescore.trainer.fit import Recipe, fit

    spec = {"sgd_classifier": {"loss": "log_loss", "learning_rate": "constant", "eta0": 0.01}}
    made = fit(design, labels.astype(np.int8), Recipe(spec, passes=1))
    made[-1].coef_ = weights[None].astype(float)
    return made


def drawn(random: np.random.Generator, n: int, flip: float = 1.0) -> tuple[Any, Any]:
    """Design rows of shape (n, 2) and outcomes of a logistic model."""
    raw = random.normal(size=(n, 2))
    labels = (random.random(n) < expit(raw @ WEIGHTS * flip - 0.5)).astype(float)
    return raw * SCALES + CENTRES, labels


def resolved(conn: Connection, design: Any, labels: Any, day: float = 0.0, first: int = 0) -> None:
    """Log resolved snapshots of different customers, one every minute, in one transaction."""
    champion = read_state(conn, "churn").champion
    scores = score(champion.estimator, np.clip(design, -1e100, 1e100)).tolist()
    rows = [
        {
            "key": str(first + n),
            "taken_at": (BEGIN + timedelta(days=day, minutes=n)).isoformat(),
            "design": list(map(float, row)),
            "label": float(label),
            "score": scores[n],
        }
        for n, (row, label) in enumerate(zip(design, labels, strict=True))
    ]
    conn.execute(
        """INSERT INTO rescore.snapshots (model, key, taken_at, version, score, design, label, due_at, resolved, resolved_at)
           SELECT 'churn', r.key, r.taken_at, %s, r.score, r.design, r.label, r.taken_at + interval '30 days',
                  pg_current_xact_id(), r.taken_at + interval '30 days'
           FROM jsonb_to_recordset(%s::jsonb) AS r (key text, taken_at timestamptz, design float8[], label float8, score float8)
           ORDER BY r.taken_at""",
        [champion.number, json.dumps(rows)],
    )


def stream(
    conn: Connection, count: int, seed: int = 3, flip: float = 1.0, day: float = 0.0
) -> None:
    """Log that many examples of new customers."""
    first = int(one(conn, "SELECT count(*) FROM rescore.snapshots"))
    resolved(conn, *drawn(np.random.default_rng(seed), count, flip), day, first)


def actions(conn: Connection, **options: Any) -> list[str]:
    """Learn, and return what each round did."""
    return [each.action for each in learn(conn, "churn", **options).rounds]


def weights(conn: Connection, version: int | None = None) -> list[float]:
    """The weights of a version, of the champion by default."""
    query = """SELECT linear -> 'weights' FROM rescore.models AS m JOIN rescore.deployments AS d USING (model)
               WHERE version = coalesce(%s, champion)"""
    return list(one(conn, query, version))


def redefine(conn: Connection, learn: str) -> None:
    """Change how the model learns."""
    define(conn, DEFINITION.replace("LEARN", learn))
