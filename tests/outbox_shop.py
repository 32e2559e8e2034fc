"""A shop whose score is known in advance: a tenth of the orders, plus the bonus."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
from sklearn.linear_model import LinearRegression

from rescore.tests.support import define, one
from rescore.trainer.publish import publish as publish_estimator

Connection = psycopg.Connection[Any]
Row = tuple[Any, ...]

TABLES = """
CREATE TABLE customers (customer_id bigint PRIMARY KEY, bonus double precision NOT NULL DEFAULT 0,
    active boolean NOT NULL DEFAULT true);
CREATE TABLE orders (customer_id bigint, ordered_at timestamptz DEFAULT now());
CREATE INDEX ON orders (customer_id);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}, only: active}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
  bonus: {column: bonus}
models: {churn: {features: all}}
scores:
  score: {model: churn}
"""
BANDS = "bands: {low: 0.1, medium: 0.3, high: 0.7}"
MOVED = "outbox: {moved_by: 0.25}"


def definition(*keys: str, engine: str = "auto") -> str:
    """Return the definition with these keys of the score."""
    text = DEFINITION.replace("{model: churn}", "{" + ", ".join(["model: churn", *keys]) + "}")
    return text.replace("{features: all}", f"{{features: all, engine: {engine}}}")


def open_shop(conn: Connection, *keys: str, engine: str = "auto") -> None:
    """Make the tables, the profile and the first version."""
    conn.execute(TABLES.encode())
    define(conn, definition(*keys, engine=engine))
    publish(conn)


def publish(conn: Connection, per_order: float = 0.1) -> None:
    """Publish a version that scores ``per_order * orders + bonus``."""
    made = LinearRegression().fit(np.zeros((2, 2)), np.zeros(2))
    made.coef_, made.intercept_ = np.array([per_order, 1.0]), 0.0
    publish_estimator(made, model="churn", conn=conn)


def order(conn: Connection, customer: int, times: int = 1) -> None:
    """Insert orders, one statement each."""
    for _ in range(times):
        conn.execute("INSERT INTO orders (customer_id) VALUES (%s)", [customer])


def reports(conn: Connection) -> list[Row]:
    """Return what was reported: key, old and new score."""
    rows = conn.execute("SELECT key, old, new FROM rescore.outbox ORDER BY id").fetchall()
    return [(key, *(None if s is None else round(s, 9) for s in scores)) for key, *scores in rows]


def bands(conn: Connection) -> list[Row]:
    """Return what was reported: key, old and new band."""
    return conn.execute("SELECT key, old_band, new_band FROM rescore.outbox ORDER BY id").fetchall()


def forget(conn: Connection) -> None:
    """Empty the outbox."""
    conn.execute("DELETE FROM rescore.outbox")


def check(conn: Connection, moved_by: float = 0.25) -> None:
    """Compare the outbox with the profile: the reports of a customer are a chain up to their row."""
    told: dict[str, float | None] = {}
    for key, old, new in reports(conn):
        assert told.get(key) == old, (key, told, old)
        told[key] = new
    rows = conn.execute("SELECT customer_id::text, score, score_reported FROM customers").fetchall()
    for key, score, reported in rows:
        assert (score is None) == (reported is None)
        assert score is None or abs(score - reported) < moved_by
        assert told.pop(key, None) == (None if reported is None else round(reported, 9)), key
    assert not [key for key, new in told.items() if new is not None]


def right(conn: Connection) -> bool:
    """Whether stored values are what the events say."""
    return bool(one(conn, "SELECT count(*) = 0 FROM rescore.verify('customers')"))


def read(conn: Connection, consumer: str = "crm", batch: int = 1000) -> list[Any]:
    """Return id, key, old and new of the next rows."""
    query = b"SELECT id, key, old, new FROM rescore.outbox_read(%s, %s)"
    return conn.execute(query, [consumer, batch]).fetchall()


def ack(conn: Connection, position: int | None, consumer: str = "crm") -> bool:
    """Acknowledge the rows up to this id."""
    return bool(one(conn, "SELECT rescore.outbox_ack(%s, %s)", consumer, position))


def drain(conn: Connection, consumer: str = "crm", batch: int = 1000) -> list[Any]:
    """Read and acknowledge until there is nothing."""
    found: list[Any] = []
    while rows := read(conn, consumer, batch):
        assert ack(conn, rows[-1][0], consumer)
        found += rows
    return found
