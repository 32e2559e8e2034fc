"""Who waits for whom, lock by lock: a session holds what another needs, which is seen to wait, and then goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import IsolationLevel

from rescore.tests.queue_shop import DEFINITION, FOLD, SHOP, Connection, fill, right
from rescore.tests.support import one, open_profile
from rescore.tests.waiting import UNSORTED, is_free, meet, open_transaction, wait_for, waits

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


SLOTS = """
    SELECT array_agg(k ORDER BY hashtextextended('customers', 0) + (hashtextextended(k::text, 1) & 127))
    FROM generate_series(1, 20) AS k"""


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    dearest = DEFINITION.replace("models:", "  dearest: {from: orders, max: amount}\nmodels:", 1)
    with open_profile(plain_dsn, SHOP, dearest) as made:
        yield made


@pytest.fixture
def filled(plain_dsn: str) -> Iterator[Connection]:
    """A profile that only the application fills: events may come before the row does."""
    table = "CREATE TABLE customers (customer_id bigint PRIMARY KEY, name text NOT NULL);"
    with open_profile(plain_dsn, SHOP + table, DEFINITION) as made:
        yield made


REFUSED = """
CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE 'RS042'; END $$;
CREATE TRIGGER refused BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION refused();
"""


@pytest.fixture
def linked(plain_dsn: str) -> Iterator[Connection]:
    with open_profile(plain_dsn, LINKED, BILLED, serving=False) as made:
        made.execute("INSERT INTO bills VALUES (2, 5)")
        made.execute("INSERT INTO accounts VALUES (2, 9), (1, 7)")
        yield made


GONE = "DELETE FROM customers WHERE customer_id = 7"
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
    meet(conn, plain_dsn, GONE, statement)
    events = one(conn, "SELECT count(*) FROM orders WHERE customer_id = 7")
    assert one(conn, "SELECT orders FROM customers WHERE customer_id = 7") == events
    assert right(conn)


def counted(conn: Connection) -> bool:
    return conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []


LINKS = {
    "insert": "INSERT INTO accounts VALUES (4, 7)",
    "update": "UPDATE accounts SET customer_id = 7 WHERE account = 2",
    "event": "INSERT INTO bills VALUES (1, 5)",
}


@pytest.mark.parametrize("statement", LINKS.values(), ids=LINKS)
def test_a_link_that_waits_for_a_deletion_counts(
    linked: Connection, plain_dsn: str, statement: str
) -> None:
    linked.execute("INSERT INTO customers (customer_id) VALUES (7)")
    linked.execute("INSERT INTO bills VALUES (4, 5)")
    meet(linked, plain_dsn, GONE, statement)
    assert one(linked, "SELECT bills FROM customers WHERE customer_id = 7") == 1
    assert counted(linked)


RECOUNTS = {
    "delete": "DELETE FROM orders WHERE amount = 6",
    "update": "UPDATE orders SET amount = 4 WHERE amount = 6",
    "rebuild": "SELECT rescore.rebuild('customers')",
}


@pytest.mark.parametrize("statement", RECOUNTS.values(), ids=RECOUNTS)
def test_a_recount_sees_what_it_has_waited_for(
    conn: Connection, plain_dsn: str, statement: str
) -> None:
    conn.execute("INSERT INTO orders VALUES (7, 5), (7, 6)")
    conn.execute("UPDATE customers SET dearest = 1")
    event = "INSERT INTO orders VALUES (7, 50)"
    meet(conn, plain_dsn, event, statement)
    assert one(conn, "SELECT dearest FROM customers") == 50
    assert right(conn)


def test_an_update_that_leaves_the_counters_as_they_were_is_met(
    conn: Connection, plain_dsn: str
) -> None:
    """By an older snapshot another event is the greatest that is left."""
    conn.execute("INSERT INTO orders VALUES (7, 50), (7, 3)")
    with psycopg.connect(plain_dsn) as old:
        old.isolation_level = IsolationLevel.REPEATABLE_READ
        old.execute("SELECT 1")
        conn.execute("UPDATE orders SET amount = 4 WHERE amount = 3")
        with pytest.raises(psycopg.errors.SerializationFailure):
            old.execute("DELETE FROM orders WHERE amount = 50")
    conn.execute("DELETE FROM orders WHERE amount = 50")
    assert right(conn)


def test_rows_are_locked_in_the_order_of_their_keys(conn: Connection, plain_dsn: str) -> None:
    """Who waits for one holds none that comes after it, wherever they lie in the table."""
    for key in (2, 1):
        conn.execute("INSERT INTO orders VALUES (%s, 5)", [key])
    row = "SELECT FROM customers WHERE customer_id = {} FOR UPDATE"
    several = "INSERT INTO orders VALUES (1, 6), (2, 6)"
    with (
        open_transaction(plain_dsn, row.format(1)) as other,
        waits(conn, plain_dsn, several, UNSORTED),
    ):
        assert is_free(plain_dsn, row.format(2))
        other.commit()
    assert right(conn)


def test_customers_are_created_in_the_order_of_their_keys(conn: Connection, plain_dsn: str) -> None:
    first = "INSERT INTO orders VALUES (1, 5)"
    several = "SELECT rescore_compiled.customers__ensure('{2, 1}')"
    with open_transaction(plain_dsn, first) as other, waits(conn, plain_dsn, several):
        assert is_free(plain_dsn, "INSERT INTO customers (customer_id) VALUES (2)")
        other.commit()
    assert right(conn)


ROW = "INSERT INTO customers VALUES (7, 'Ada')"
CHANGES = {
    "come": "INSERT INTO orders VALUES (7, 8), (7, 9)",
    "go": "DELETE FROM orders",
    "change": "UPDATE orders SET customer_id = 7",
}


@pytest.mark.parametrize("rowfirst", [True, False])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_row_and_its_events_meet(
    filled: Connection, plain_dsn: str, change: str, rowfirst: bool
) -> None:
    """Neither can see the other: whoever is second waits."""
    filled.execute("INSERT INTO orders VALUES (7, 5), (8, 6)")
    first, second = (ROW, change) if rowfirst else (change, ROW)
    meet(filled, plain_dsn, first, second)
    events = one(filled, "SELECT count(*) FROM orders WHERE customer_id = 7")
    assert one(filled, "SELECT orders FROM customers") == events
    assert right(filled)


def test_slots_are_taken_in_their_order(filled: Connection, plain_dsn: str) -> None:
    """Who waits for the slot of a customer without a row holds none that comes after it."""
    keys = one(filled, SLOTS)
    filled.execute("INSERT INTO orders SELECT k, 5 FROM unnest(%s::bigint[]) AS k", [keys])
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = %s AND granted"
    with (
        open_transaction(plain_dsn, ROW.replace("7", str(keys[0]))) as other,
        waits(filled, plain_dsn, "DELETE FROM orders", UNSORTED) as waiter,
    ):
        assert one(filled, held, waiter.info.backend_pid) == 0
        other.commit()
    assert right(filled)


MEETINGS = {
    "link, event": ("INSERT INTO accounts VALUES (5, 7)", "INSERT INTO bills VALUES (5, 1)"),
    "event, link": ("INSERT INTO bills VALUES (5, 1)", "INSERT INTO accounts VALUES (5, 7)"),
    "moved, event": ("UPDATE accounts SET customer_id = 8", "INSERT INTO bills VALUES (1, 1)"),
    "event, moved": ("INSERT INTO bills VALUES (1, 1)", "UPDATE accounts SET customer_id = 8"),
    "event, another link": (
        "INSERT INTO bills VALUES (1, 1)",
        "INSERT INTO accounts VALUES (4, 7)",
    ),
}


@pytest.mark.parametrize(("first", "second"), MEETINGS.values(), ids=MEETINGS)
def test_a_link_and_its_events_meet(
    linked: Connection, plain_dsn: str, first: str, second: str
) -> None:
    linked.execute("INSERT INTO bills VALUES (4, 1)")
    linked.execute("INSERT INTO bills VALUES (1, 1)")
    meet(linked, plain_dsn, first, second)
    assert counted(linked)


def test_what_a_link_cannot_count_is_recorded(linked: Connection) -> None:
    linked.execute("INSERT INTO customers (customer_id) VALUES (7)")
    linked.execute("INSERT INTO bills VALUES (4, 5)")
    linked.execute(REFUSED)
    linked.execute("INSERT INTO accounts VALUES (4, 7)")
    assert one(linked, "SELECT sqlstate FROM rescore.incidents") == "RS042"


def test_links_are_locked_in_their_order(linked: Connection, plain_dsn: str) -> None:
    row = "SELECT FROM accounts WHERE account = {} FOR UPDATE"
    several = "INSERT INTO bills VALUES (1, 6), (2, 6)"
    with (
        open_transaction(plain_dsn, row.format(1)) as other,
        waits(linked, plain_dsn, several, UNSORTED),
    ):
        assert is_free(plain_dsn, row.format(2))
        other.commit()
    assert counted(linked)


@contextmanager
def deleted_while_locking(
    conn: Connection, dsn: str, second: str
) -> Iterator[Callable[[str], None]]:
    """Yield what runs a statement that waits for 2, which is deleted, and then for 3.

    The second one, which creates 2 meanwhile, waits for 3 behind it.
    """
    held = "SELECT FROM customers WHERE customer_id = 3 FOR UPDATE"
    gone = "DELETE FROM customers WHERE customer_id = 2"

    def run(first: str) -> None:
        with waits(conn, dsn, first) as waiter:
            deleter.commit()
            wait_for(conn, waiter, holder)
            with waits(conn, dsn, second):
                holder.commit()

    with open_transaction(dsn, held) as holder, open_transaction(dsn, gone) as deleter:
        yield run


AGAIN = {
    "insert": ("INSERT INTO orders VALUES (1, 6), (2, 6), (3, 6)", [2, 3, 3]),
    "update": ("UPDATE orders SET amount = 6 WHERE amount = 5", [1, 2, 2]),
    "delete": ("DELETE FROM orders WHERE amount = 5", [0, 1, 1]),
}


@pytest.mark.parametrize(("first", "counts"), AGAIN.values(), ids=AGAIN)
def test_events_of_whom_others_create_again_do_not_deadlock(
    conn: Connection, plain_dsn: str, first: str, counts: list[int]
) -> None:
    """Waited for while 1 and 3 are held, 2 would be held by who waits for 3."""
    conn.execute("INSERT INTO orders VALUES (1, 5), (2, 5), (3, 5)")
    with deleted_while_locking(conn, plain_dsn, "INSERT INTO orders VALUES (2, 7), (3, 7)") as run:
        run(first)
    found = "SELECT array_agg(orders ORDER BY customer_id) FROM customers"
    assert one(conn, found) == counts
    assert right(conn)


def test_links_of_whom_others_create_again_do_not_deadlock(
    linked: Connection, plain_dsn: str
) -> None:
    linked.execute("INSERT INTO accounts VALUES (11, 1), (12, 2), (13, 3)")
    linked.execute("INSERT INTO bills SELECT i, 1 FROM generate_series(11, 33) AS i")
    second = "INSERT INTO accounts VALUES (32, 2), (33, 3)"
    with deleted_while_locking(linked, plain_dsn, second) as run:
        run("INSERT INTO accounts VALUES (21, 1), (22, 2), (23, 3)")
    counts = "SELECT array_agg(bills ORDER BY customer_id) FROM customers WHERE customer_id < 4"
    assert one(linked, counts) == [2, 3, 3]
    assert counted(linked)


def test_a_fold_at_commit_of_whom_others_create_again_does_not_deadlock(
    conn: Connection, plain_dsn: str
) -> None:
    """Any other fold waits for nobody for long."""
    conn.execute("INSERT INTO orders VALUES (1, 5), (2, 5), (3, 5)")
    fill(conn)
    with deleted_while_locking(conn, plain_dsn, "INSERT INTO orders VALUES (2, 7), (3, 7)") as run:
        run("INSERT INTO usage (customer_id, amount) VALUES (1, 5), (2, 5), (3, 5)")
    found = "SELECT array_agg(used ORDER BY customer_id) FROM customers WHERE customer_id < 4"
    assert one(conn, found) == [1, 1, 1]
    conn.execute(FOLD)
    assert right(conn)
