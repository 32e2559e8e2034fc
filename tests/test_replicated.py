"""Event tables that a subscription fills: triggers that fire for it, and what says when they do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rescore.compiler.definition import parse
from rescore.errors import BadDefinition
from rescore.tests.support import define, one, open_profile, publish

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE orders (order_id bigint PRIMARY KEY, customer_id bigint, at timestamptz DEFAULT now(), amount numeric(10,2));
CREATE INDEX ON orders (customer_id);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}}
events: {orders: {time: at, trigger: replicated}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
models: {churn: {features: all}}
scores: {churn_score: {model: churn, bands: {low: 0.1, high: 0.9}, outbox: {moved_by: 0.000001}}}
"""


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with open_profile(dsn, SHOP, DEFINITION) as made:
        yield made


def as_a_subscription(conn: Connection, *statements: str) -> None:
    """Write as the worker of a subscription does."""
    conn.execute("SET session_replication_role = replica")
    for statement in statements:
        conn.execute(statement.encode())
    conn.execute("RESET session_replication_role")


def health(conn: Connection, check: str) -> Any:
    return one(conn, 'SELECT status, detail FROM rescore.health WHERE "check" = %s', check)


def right(conn: Connection) -> bool:
    return not conn.execute(b"SELECT * FROM rescore.verify('customers')").fetchall()


def test_what_a_subscription_writes_is_counted_scored_and_reported(conn: Connection) -> None:
    as_a_subscription(
        conn,
        "INSERT INTO orders VALUES (1, 7, now(), 5), (2, 7, now(), 6), (3, 8, now(), 7)",
        "UPDATE orders SET customer_id = 9 WHERE order_id = 3",
        "DELETE FROM orders WHERE order_id = 1",
    )
    found = conn.execute("SELECT customer_id, orders, spend FROM customers ORDER BY 1").fetchall()
    assert found == [(7, 1, 6), (8, 0, 0), (9, 1, 7)]
    assert right(conn)
    assert one(conn, "SELECT count(*) FROM customers WHERE churn_score_band IS NULL") == 0
    assert one(conn, "SELECT count(DISTINCT key) FROM rescore.outbox") == 3
    as_a_subscription(
        conn, "DELETE FROM customers WHERE customer_id = 7", "INSERT INTO orders VALUES (4, 7)"
    )
    assert one(conn, "SELECT orders FROM customers WHERE customer_id = 7") == 2
    as_a_subscription(conn, "TRUNCATE orders")
    assert right(conn)


def test_triggers_enabled_otherwise_turn_health_red_and_apply_mends_them(conn: Connection) -> None:
    assert health(conn, "replication")[0] == "ok"
    conn.execute("ALTER TABLE orders DISABLE TRIGGER USER; ALTER TABLE orders ENABLE TRIGGER USER")
    status, detail = health(conn, "replication")
    assert status == "error" and "rescore_customers__orders_insert" in detail
    as_a_subscription(conn, "INSERT INTO orders VALUES (1, 7, now(), 5)")
    assert not right(conn)
    assert "recount orders from its events" in define(conn, DEFINITION).changes
    assert health(conn, "replication")[0] == "ok"
    assert right(conn)
    assert define(conn, DEFINITION).empty


def test_without_it_triggers_fire_for_ordinary_sessions_only_again(conn: Connection) -> None:
    define(conn, DEFINITION.replace("replicated", "row"))
    enabled = "SELECT array_agg(DISTINCT tgenabled) FROM pg_trigger WHERE tgname LIKE 'rescore_customers%'"
    assert one(conn, enabled) == ["O"]
    as_a_subscription(conn, "INSERT INTO orders VALUES (1, 7, now(), 5)")
    assert one(conn, "SELECT count(*) FROM customers") == 0


def test_triggers_for_replicas_alone_are_as_good_as_missing(conn: Connection) -> None:
    """An ordinary session does not fire them: its events would go uncounted."""
    define(conn, DEFINITION.replace("replicated", "statement"))
    conn.execute("ALTER TABLE orders ENABLE REPLICA TRIGGER rescore_customers__orders_insert")
    conn.execute("INSERT INTO orders VALUES (1, 7, now(), 5)")
    assert not right(conn)
    assert not define(conn, DEFINITION.replace("replicated", "statement")).empty
    assert right(conn)


def test_a_replicated_event_behind_a_link_is_refused() -> None:
    text = DEFINITION.replace("{time: at,", "{time: at, via: account,")
    text = text.replace(
        "features:",
        "links: {account: {table: accounts, on: account_id, gives: customer_id}}\nfeatures:",
        1,
    )
    with pytest.raises(BadDefinition, match="is replicated and has no key of its own"):
        parse(text)


def test_health_shows_what_holds_back_vacuum_and_what_is_stale(conn: Connection, dsn: str) -> None:
    conn.execute("INSERT INTO orders SELECT i, i, now(), 1 FROM generate_series(1, 10) AS i")
    assert health(conn, "stale") == (
        "ok",
        "churn_score of customers: 0.0% stale, 0.0% of another version",
    )
    publish(conn, seed=8)
    conn.execute("UPDATE customers SET churn_score_at = NULL WHERE customer_id <= 3")
    assert health(conn, "stale") == (
        "warning",
        "churn_score of customers: 30.0% stale, 100.0% of another version",
    )
    conn.execute("CALL rescore.sweep('customers')")
    assert health(conn, "stale")[0] == "ok"
    with psycopg.connect(dsn) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT 1")
        conn.execute("UPDATE customers SET orders = orders")
        assert f"session {reader.info.backend_pid} of rescore" in one(
            conn, "SELECT string_agg(holder, ', ') FROM rescore._held_back()"
        )
    conn.execute("BEGIN; UPDATE customers SET orders = orders; PREPARE TRANSACTION 'left alone'")
    assert "prepared transaction 'left alone'" in one(
        conn, "SELECT string_agg(holder, ', ') FROM rescore._held_back()"
    )
    conn.execute("ROLLBACK PREPARED 'left alone'")
    assert health(conn, "dead rows")[1].startswith("customers: ")
