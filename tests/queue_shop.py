"""What the tests of the queue are about: usage that waits to be counted, beside orders that do not."""

from __future__ import annotations

from typing import Any

import psycopg

from rescore.tests.support import one

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE usage (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint,
    at timestamptz DEFAULT now(), amount numeric(10,2));
CREATE INDEX ON usage (customer_id);
CREATE TABLE orders (customer_id bigint, amount int);
CREATE INDEX ON orders (customer_id);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}}
events:
  usage: {time: at, mode: queued, queue: {limit: 200}}
  orders: {}
features:
  used: {from: usage, count: true}
  spend: {from: usage, sum: amount}
  biggest: {from: usage, max: amount}
  orders: {from: orders, count: true}
models: {churn: {features: all}}
scores: {churn_score: {model: churn}}
"""
FOLD = "CALL rescore.fold('customers')"


def use(conn: Connection, *keys: int) -> None:
    """Insert an event of each of these customers, in one statement."""
    conn.execute(
        "INSERT INTO usage (customer_id, amount) SELECT k, 5 FROM unnest(%s::bigint[]) AS k",
        [list(keys)],
    )


def waiting(conn: Connection) -> int:
    return int(one(conn, "SELECT count(*) FROM rescore.queue"))


def fill(conn: Connection) -> None:
    """Let the queue be full."""
    use(conn, *range(1000, 1100))
    use(conn, *range(1100, 1300 - waiting(conn)))
    assert waiting(conn) == 200


def right(conn: Connection) -> bool:
    """Whether every counter is what its events say, and every score what its counters say."""
    wrong = conn.execute("SELECT * FROM rescore.verify('customers')").fetchall()
    scores = "SELECT count(*) FROM customers AS p WHERE churn_score <> rescore.predict('churn', p)"
    incidents = "SELECT count(*) FROM rescore.incident_log"
    return wrong == [] and one(conn, scores) == 0 and one(conn, incidents) == 0
