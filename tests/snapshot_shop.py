"""What the tests of snapshots are about: a shop with orders, cancellations, finance's list, offers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from rescore.tests.support import define, one, publish

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE orders (order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint, ordered_at timestamptz, amount numeric(10,2));
CREATE INDEX ON orders (customer_id, ordered_at);
CREATE TABLE plans (customer_id bigint, at timestamptz, kind text);
CREATE INDEX ON plans (customer_id);
CREATE TABLE unpaid_list (client bigint, churned_on timestamptz, booked_on timestamptz);
CREATE TABLE offers (customer_id bigint, sent_at timestamptz, kind text);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}, clock: session}
events: {orders: {time: ordered_at}, plans: {time: at}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
  recent: {from: orders, count: true, window: 30 days, bucket: 1 day}
  days_since_order: {from: orders, days_since: last}
labels:
  churned: {none: orders, within: 30 days}
  left: {any: plans, where: "kind = 'cancel'", after: 5 days, within: 20 days, censored_by: unpaid}
  unpaid: {table: unpaid_list, key: client, at: churned_on, known_at: booked_on, within: 10 days,
           settle: 5 days}
  gone: {none: orders, table: unpaid_list, key: client, at: churned_on, known_at: booked_on,
         within: 15 days}
interventions: {table: offers, time: sent_at, where: "kind <> 'newsletter'", holdout: 30%}
snapshot: {every: 1 day}
models:
  churn: {label: churned}
  leave: {label: left}
  dun: {label: unpaid}
  lose: {label: gone}
scores: {churn_score: {model: churn}}
"""
MODELS = ("churn", "leave", "dun", "lose")


@contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as made:
        made.execute("SET TimeZone = 'UTC'")
        made.execute(SHOP.encode())
        at(made, "2026-01-01")
        yield made


def shop(
    conn: Connection,
    definition: str = DEFINITION,
    customers: int = 20,
    models: tuple[str, ...] = MODELS,
) -> None:
    """A profile whose models serve, and customers with an order each in December."""
    define(conn, definition)
    for model in models:
        publish(conn, model)
    conn.execute(
        """INSERT INTO orders (customer_id, ordered_at, amount)
           SELECT i, timestamptz '2025-12-01Z' + i * interval '1 hour', i %% 17
           FROM generate_series(1, %s) AS i""",
        [customers],
    )


def at(conn: Connection, moment: str) -> None:
    given = moment if ":" in moment else f"{moment} 00:00:00+00"
    conn.execute("SELECT set_config('rescore.clock', %s, false)", [given])


def order(conn: Connection, customer: int, moment: str) -> None:
    given = [customer, f"{moment}+00"]
    conn.execute("INSERT INTO orders (customer_id, ordered_at, amount) VALUES (%s, %s, 1)", given)


def snapshot(conn: Connection) -> int:
    return int(one(conn, "SELECT rescore.snapshot('customers')"))


def resolve(conn: Connection) -> int:
    return int(one(conn, "SELECT rescore.resolve('customers')"))


def labels(conn: Connection, model: str = "churn") -> dict[int, Any]:
    """Label of each customer's only snapshot."""
    query = b"SELECT key::int, label FROM rescore.snapshots WHERE model = %s ORDER BY 1"
    return dict(conn.execute(query, [model]))
