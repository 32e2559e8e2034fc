"""Customers whose chance of leaving is known, and versions that know it, or the opposite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
from sklearn.linear_model import LogisticRegression

from rescore.tests.support import define, one
from rescore.trainer.publish import publish

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE customers (customer_id bigint PRIMARY KEY, tendency float8 NOT NULL);
CREATE TABLE cancels (customer_id bigint, at timestamptz);
CREATE INDEX ON cancels (customer_id);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}, clock: session, history: {tendency: static}}
events: {cancels: {time: at}}
features: {tendency: {column: tendency}}
labels: {left: {any: cancels, within: 10 days}}
snapshot: {every: 1 day}
models: {churn: {label: left, scaler: none, traffic: TRAFFIC}}
scores: {churn_score: {model: churn}}
"""
RULES = "{promote: 0, demote: 0, rollback: 0.05, customers: 100, cool_down: 30 days}"


@contextmanager
def connected(dsn: str, customers: int = 400, rules: str = RULES) -> Iterator[Connection]:
    """A profile of customers with tendencies between -2 and 2; no version yet."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SHOP.encode())
        at(conn, 0)
        define(conn, DEFINITION.replace("TRAFFIC", rules))
        tendencies = np.random.default_rng(5).uniform(-2, 2, customers)
        with conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO customers (customer_id, tendency) VALUES (%s, %s)",
                list(enumerate(tendencies.tolist())),
            )
        yield conn


def at(conn: Connection, day: float) -> None:
    """Set the clock to a day of 2026."""
    conn.execute(
        """SELECT set_config('rescore.clock',
                             (timestamptz '2026-01-01Z' + %s * interval '1 day')::text, false)""",
        [day],
    )


def version(conn: Connection, weight: float, *, candidate: bool = False, offset: float = 0) -> int:
    """Publish a version whose log-odds are weight times the tendency; 1 is the truth."""
    made = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    made.coef_, made.intercept_ = np.array([[weight]]), np.array([offset])
    return publish(made, model="churn", conn=conn, candidate=candidate)


def live(conn: Connection, first: int, days: int = 2, seed: int = 0) -> None:
    """Snapshots on some days from the first one; what comes of them; resolved 20 days later."""
    rng = np.random.default_rng((seed, first))
    for day in range(first, first + days):
        at(conn, day + 0.1)
        assert one(conn, "SELECT rescore.snapshot('customers')") > 0
    rows = conn.execute("SELECT customer_id, tendency FROM customers ORDER BY 1").fetchall()
    keys, tendencies = np.array(rows).T
    leaving = keys[rng.random(len(keys)) < 1 / (1 + np.exp(-tendencies))]
    at(conn, first + days + 2)
    conn.execute(
        "INSERT INTO cancels SELECT k, rescore.clock() - interval '1 hour' FROM unnest(%s::bigint[]) AS k",
        [leaving.astype(int).tolist()],
    )
    at(conn, first + 20)
    one(conn, "SELECT rescore.resolve('customers')")
