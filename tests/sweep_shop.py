"""What the tests of sweeps are about: customers whose last orders lie apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from rescore.tests.support import define, one, publish

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE orders (order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint, ordered_at timestamptz DEFAULT now(), amount numeric(10,2));
CREATE INDEX ON orders (customer_id);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}, clock: session}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
  days_since_order: {from: orders, days_since: last}
models: {churn: {features: all}, worth: {features: [orders, spend]}}
scores: {churn_score: {model: churn}}
"""
WITHOUT_TIME = DEFINITION.replace("{churn: {features: all}", "{churn: {features: [orders, spend]}")
CALL = "CALL rescore.sweep('customers')"


@contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as made:
        made.execute(SHOP.encode())
        at(made, "2026-01-01")
        yield made


def shop(conn: Connection, definition: str = DEFINITION, customers: int = 300) -> None:
    """A profile with a serving version, and customers whose last orders lie apart."""
    define(conn, definition)
    publish(conn)
    conn.execute(
        """INSERT INTO orders (customer_id, ordered_at, amount)
           SELECT i, timestamptz '2025-12-01Z' + i * interval '1 hour', i %% 17
           FROM generate_series(1, %s) AS i""",
        [customers],
    )


def at(conn: Connection, moment: str) -> None:
    conn.execute("SELECT set_config('rescore.clock', %s, false)", [f"{moment} 00:00:00+00"])


def rows(conn: Connection) -> dict[int, Any]:
    """Where each row stands: another place says that it was written."""
    return dict(conn.execute("SELECT customer_id, ctid::text || xmin::text FROM customers"))


def state(conn: Connection, *columns: str) -> Any:
    return one(conn, f"SELECT {', '.join(columns)} FROM rescore.sweeps")


def wrong(conn: Connection) -> int:
    """How many stored scores are not what the model says now."""
    query = """SELECT count(*) FROM customers AS p WHERE churn_score IS NULL
               OR abs(churn_score - rescore.predict('churn', p)) > 1e-12"""
    return int(one(conn, query))


def wrong_version(conn: Connection) -> int:
    return int(
        one(
            conn,
            "SELECT count(*) FROM customers WHERE churn_score_version <> rescore_compiled.churn_version()",
        )
    )
