"""Statements of many rows: what they count, and by which plan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from rescore.tests.support import define, one, publish

Connection = psycopg.Connection[Any]

DEFINITION = """
profile: {table: customer_profile, key: {name: customer_id, type: bigint}}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount, where: "quantity >= 2"}
  parts: {from: orders, sum: quantity}
  weight: {from: orders, sum: grams}
  dearest: {from: orders, max: amount}
  least: {from: orders, min: quantity, where: "amount > 10"}
  mean: {from: orders, avg: amount}
  first_channel: {from: orders, first: channel, one_hot: [c1, c2]}
  last_channel: {from: orders, last: channel, one_hot: [c1, c2]}
  last_order: {from: orders, days_since: last}
  lately: {from: orders, sum: amount, window: 30 days}
  usual: {from: orders, ewma: amount, half_life: 30 days}
  pace: {from: orders, count: true, half_life: 14 days}
  channels: {from: orders, distinct: channel}
  latest: {from: orders, last: 3, of: channel, count_of: [c1, c2]}
models: {churn: {features: [orders, spend, dearest, last_order]}}
scores: {churn_score: {model: churn}}
"""
# Sums, counts, extremes and times: nothing is recounted, or aggregated within a row.
PLAIN = re.sub(
    r"^  (\w+_channel|lately|usual|pace|channels|latest): .*\n", "", DEFINITION, flags=re.MULTILINE
)
ROWS = 600
COLUMNS = "customer_id, ordered_at, quantity, amount, grams, channel"
# Some without a customer, a value or a time that has come; each value of its own.
DRAWN = """
SELECT CASE WHEN n % 50 <> 7 THEN {customer} END,
       CASE n % 40 WHEN 3 THEN now() + interval '1 day' WHEN 5 THEN 'infinity'
            ELSE now() - n * interval '3 hours' END,
       n % 4, CASE n % 30 WHEN 2 THEN 'NaN' WHEN 4 THEN NULL ELSE n * 0.25 END,
       CASE WHEN n % 9 > 0 THEN n / 8.0 END::real, CASE WHEN n % 11 > 0 THEN 'c' || n % 5 END
FROM generate_series(1, {rows}) AS n
"""


@pytest.fixture
def shop(dsn: str) -> Iterator[Connection]:
    # A superuser, who may load auto_explain.
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id"
            " bigint, ordered_at timestamptz, quantity int, amount numeric(10, 2), grams real,"
            " channel text)"
        )
        conn.execute("CREATE INDEX ON orders (customer_id, ordered_at)")
        yield conn


@pytest.fixture
def mixed(shop: Connection) -> Connection:
    define(shop, DEFINITION)
    publish(shop, "churn")
    return shop


def insert(conn: Connection, customer: str, rows: int = ROWS) -> None:
    drawn = DRAWN.format(customer=customer, rows=rows)
    conn.execute(f"INSERT INTO orders ({COLUMNS}) {drawn}".encode())


@contextmanager
def plans(conn: Connection) -> Iterator[list[str]]:
    """Yield the plans of the statements that triggers run meanwhile, each as text."""
    found: list[str] = []

    def keep(notice: psycopg.errors.Diagnostic) -> None:
        found.append(notice.message_primary or "")

    conn.execute(
        "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0;"
        " SET auto_explain.log_nested_statements = on; SET client_min_messages = log"
    )
    conn.add_notice_handler(keep)
    yield found
    conn.remove_notice_handler(keep)
    conn.execute("RESET client_min_messages; SET auto_explain.log_min_duration = -1")


def update_of(found: list[str]) -> str:
    """Return the plan of the one statement that updated the profile."""
    (plan,) = [p for p in found if re.search(r"^ *Update on customer_profile", p, re.MULTILINE)]
    return plan[plan.index("Update on customer_profile") :]


@pytest.mark.parametrize("customer", ["n", "n % 240", "CASE WHEN n > 2 THEN n ELSE 1 END"])
def test_many_rows_count_as_the_same_rows_do_in_a_recount(mixed: Connection, customer: str) -> None:
    for _ in range(2):  # who is not there yet, and who is
        insert(mixed, customer)
        assert mixed.execute("SELECT * FROM rescore.verify('customer_profile')").fetchall() == []
    insert(mixed, customer, rows=2)
    assert mixed.execute("SELECT * FROM rescore.verify('customer_profile')").fetchall() == []
    assert one(mixed, "SELECT count(*) FROM rescore.incident_log") == 0


def test_rows_of_different_customers_count_as_each_alone_would(mixed: Connection) -> None:
    insert(mixed, "n")
    stored = "SELECT to_jsonb(p) - 'churn_score_at' - 'churn_score' FROM customer_profile AS p ORDER BY 1"
    together = mixed.execute(stored.encode()).fetchall()
    mixed.execute("CREATE TEMP TABLE kept AS SELECT * FROM orders; TRUNCATE orders")
    mixed.execute("TRUNCATE customer_profile")
    for (row,) in mixed.execute("SELECT id FROM kept ORDER BY id").fetchall():
        mixed.execute(
            f"INSERT INTO orders ({COLUMNS}) SELECT {COLUMNS} FROM kept WHERE id = %s".encode(),
            [row],
        )
    assert mixed.execute(stored.encode()).fetchall() == together


@pytest.fixture
def large(shop: Connection) -> Connection:
    """Return a shop of so many customers that nobody reads all of them for a few hundred."""
    define(shop, PLAIN)
    shop.execute("INSERT INTO customer_profile (customer_id) SELECT generate_series(1, 20000)")
    shop.execute("VACUUM ANALYZE customer_profile")
    shop.execute("SET random_page_cost = 1.1")  # as the bench and servers with fast disks have it
    return shop


def test_rows_of_different_customers_are_not_added_up(large: Connection) -> None:
    with plans(large) as found:
        insert(large, "n * 30")
    plan = update_of(found)
    assert "Aggregate" not in plan
    # In key order, each customer looked for by key.
    assert plan.index("Nested Loop") < plan.index("Unique") < plan.index("Sort Key")
    assert "Index Scan using customer_profile_pkey on customer_profile p" in plan


def test_rows_of_the_same_customers_are_added_up_in_key_order(large: Connection) -> None:
    with plans(large) as found:
        insert(large, "n % 240")
    plan = update_of(found)
    # One group after the other, and not a table of all of them.
    assert plan.index("Nested Loop") < plan.index("GroupAggregate") < plan.index("Sort Key")
    assert "Index Scan using customer_profile_pkey on customer_profile p" in plan
