"""Who waits for whom, lock by lock: a session holds what another needs, which is seen to wait, and then goes on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from rescore.tests.queue_shop import DEFINITION, FOLD, SHOP, Connection, right, use, waiting
from rescore.tests.support import one, open_profile

BLOCKED = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
LINKED = """
CREATE TABLE bills (account bigint, amount int);
CREATE INDEX ON bills (account);
CREATE TABLE accounts (account bigint PRIMARY KEY, customer_id bigint);
CREATE INDEX ON accounts (customer_id);
"""
BILLED = """
profile: {table: customers, key: {name: customer_id, type: bigint}}
links: {account: {table: accounts, on: account, gives: customer_id}}
events: {bills: {via: account}}
features: {bills: {from: bills, count: true}}
"""


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with open_profile(plain_dsn, SHOP, DEFINITION) as made:
        yield made


@contextmanager
def waits(conn: Connection, dsn: str, statement: str) -> Iterator[Future[Any]]:
    """Run a statement in a session of its own: the block begins when it waits, and is to let it go on."""
    with psycopg.connect(dsn, autocommit=True) as other, ThreadPoolExecutor(1) as pool:
        running = pool.submit(other.execute, statement.encode())
        while not one(conn, BLOCKED, other.info.backend_pid):
            assert not running.done(), running.result()
        yield running
        running.result(timeout=30)


@contextmanager
def deleting(dsn: str, key: int) -> Iterator[Connection]:
    """A transaction that has deleted a row of the profile, and is not committed."""
    with psycopg.connect(dsn) as other:
        other.execute("DELETE FROM customers WHERE customer_id = %s", [key])
        yield other


ORDERS = {
    "one": "INSERT INTO orders VALUES (7, 5)",
    "several": "INSERT INTO orders VALUES (7, 5), (7, 6), (8, 7)",
    "moved": "UPDATE orders SET customer_id = 7",
    "upsert": "WITH w AS (DELETE FROM orders) INSERT INTO orders VALUES (7, 5), (7, 6)",
}


@pytest.mark.parametrize("statement", ORDERS.values(), ids=ORDERS)
def test_events_that_wait_for_a_deletion_count(
    conn: Connection, plain_dsn: str, statement: str
) -> None:
    """They come after it, and bring the customer back."""
    conn.execute("INSERT INTO orders VALUES (9, 5), (9, 6)")
    conn.execute("INSERT INTO customers (customer_id) VALUES (7)")
    with deleting(plain_dsn, 7) as other, waits(conn, plain_dsn, statement):
        other.commit()
    events = one(conn, "SELECT count(*) FROM orders WHERE customer_id = 7")
    assert one(conn, "SELECT orders FROM customers WHERE customer_id = 7") == events
    assert right(conn)


LINKS = {
    "insert": "INSERT INTO accounts VALUES (1, 7)",
    "update": "UPDATE accounts SET customer_id = 7",
    "event": "INSERT INTO bills VALUES (3, 5)",
}


@pytest.mark.parametrize("statement", LINKS.values(), ids=LINKS)
def test_a_link_that_waits_for_a_deletion_counts(plain_dsn: str, statement: str) -> None:
    with open_profile(plain_dsn, LINKED, BILLED, serving=False) as conn:
        conn.execute("INSERT INTO customers (customer_id) VALUES (7)")
        conn.execute("INSERT INTO bills VALUES (1, 5), (2, 5)")
        conn.execute("INSERT INTO accounts VALUES (2, 9), (3, 7)")
        with deleting(plain_dsn, 7) as other, waits(conn, plain_dsn, statement):
            other.commit()
        assert one(conn, "SELECT bills FROM customers WHERE customer_id = 7") == 1
        assert conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []


def test_a_fold_that_waits_for_a_deletion_counts_what_came_since(
    conn: Connection, plain_dsn: str
) -> None:
    conn.execute("INSERT INTO customers (customer_id) VALUES (7)")
    with deleting(plain_dsn, 7) as other:
        use(conn, 7)
        with waits(conn, plain_dsn, FOLD):
            other.commit()
    assert waiting(conn) == 0
    assert one(conn, "SELECT used FROM customers WHERE customer_id = 7") == 1
    assert right(conn)


def test_a_rebuild_that_waits_for_a_deletion_counts_what_came_since(
    conn: Connection, plain_dsn: str
) -> None:
    use(conn, 1)
    conn.execute("INSERT INTO customers (customer_id) VALUES (7)")
    with deleting(plain_dsn, 7) as other:
        use(conn, 7)
        with waits(conn, plain_dsn, "SELECT rescore.rebuild('customers')"):
            other.commit()
    assert waiting(conn) == 0
    assert one(conn, "SELECT used FROM customers WHERE customer_id = 7") == 1
    assert right(conn)
