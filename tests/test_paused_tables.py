"""Keys and tables changed while a profile is paused: the resume has it as if it had not been."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rescore.errors import RescoreError
from rescore.tests import test_altered_tables as altered
from rescore.tests.support import define, one, open_profile
from rescore.tests.test_pause import DEFINITION, SHOP
from rescore.trainer import operations as ops
from rescore.trainer.pause import pause, resume

Connection = psycopg.Connection[Any]
MODES = {"live": "", "queued": ", mode: queued"}


@pytest.fixture(params=list(MODES))
def definition(request: pytest.FixtureRequest) -> str:
    return DEFINITION.replace(" MODE", MODES[request.param])


@pytest.fixture
def conn(plain_dsn: str, definition: str) -> Iterator[Connection]:
    with open_profile(plain_dsn, SHOP, definition) as made:
        made.execute("INSERT INTO sessions SELECT i, i FROM generate_series(1, 9) AS i")
        made.execute("INSERT INTO visits SELECT 1 + i % 9 FROM generate_series(1, 27) AS i")
        made.execute(
            "INSERT INTO orders (customer_id, amount) SELECT 1 + i % 9, i FROM generate_series(1, 45) AS i"
        )
        ops.fold(made, "customers", 100)
        yield made


def rows(conn: Connection) -> dict[int, tuple[int, int]]:
    found = conn.execute("SELECT customer_id, orders, visits FROM customers").fetchall()
    return {key: (orders, visits) for key, orders, visits in found}


def red(conn: Connection) -> dict[str, str]:
    query = "SELECT \"check\", detail FROM rescore.health WHERE status = 'error'"
    return dict(conn.execute(query.encode()).fetchall())


def resumed(conn: Connection) -> dict[int, tuple[int, int]]:
    """Resume if paused, count, and return the rows, which are right."""
    resume(conn, "customers")
    ops.fold(conn, "customers", 100)
    assert conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []
    return rows(conn)


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_changed_keys(conn: Connection, paused: bool) -> None:
    if paused:
        pause(conn, "customers")
    # Events stay behind; events follow; an event takes the old key up again.
    conn.execute("UPDATE customers SET customer_id = 44 WHERE customer_id = 4")
    conn.execute("UPDATE customers SET customer_id = 55 WHERE customer_id = 5")
    conn.execute("UPDATE orders SET customer_id = 55 WHERE customer_id = 5")
    conn.execute("UPDATE sessions SET customer_id = 55 WHERE customer_id = 5")
    conn.execute("UPDATE customers SET customer_id = 66 WHERE customer_id = 6")
    if paused:
        resume(conn, "customers")
        ops.fold(conn, "customers", 100)
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (6, 1)")
    found = resumed(conn)
    assert sorted(found) == [1, 2, 3, 6, 7, 8, 9, 44, 55, 66]
    assert (found[44], found[55], found[66]) == ((0, 0), (5, 3), (0, 0))
    assert found[6] == (6, 3)  # what had stayed, and the new one


def test_exchanged_keys(conn: Connection) -> None:
    pause(conn, "customers")
    with conn.transaction():
        for before, after in ((1, -1), (2, 1), (-1, 2)):
            change = "UPDATE customers SET customer_id = %s, age = %s WHERE customer_id = %s"
            conn.execute(change, [after, before, before])
    found = resumed(conn)
    assert (len(found), found[1], found[2]) == (9, (5, 3), (5, 3))
    assert one(conn, "SELECT count(*) FROM rescore.removed_keys WHERE key = '-1'") == 0


def test_a_link_that_moves_brings_nobody_back(conn: Connection) -> None:
    conn.execute("DELETE FROM customers WHERE customer_id = 5")
    conn.execute("INSERT INTO sessions VALUES (100, 5)")
    conn.execute("UPDATE sessions SET customer_id = 7 WHERE customer_id = 5")
    conn.execute("UPDATE sessions SET customer_id = 800 WHERE session_id = 100")  # of no visits
    found = resumed(conn)
    assert sorted(found) == [1, 2, 3, 4, 6, 7, 8, 9]
    assert found[7] == (5, 6)
    conn.execute("UPDATE sessions SET customer_id = 900 WHERE session_id = 1")
    assert resumed(conn)[900] == (0, 3)


def test_an_event_table_renamed(conn: Connection) -> None:
    pause(conn, "customers")
    conn.execute("ALTER TABLE orders RENAME TO elsewhere")
    conn.execute("INSERT INTO elsewhere (customer_id, amount) VALUES (1, 5), (70, 6)")
    assert "is now called public.elsewhere" in red(conn)["tables"]
    resume(conn, "customers")
    with pytest.raises(RescoreError, match="does not exist"):
        ops.fold(conn, "customers", 100)
    conn.execute("INSERT INTO elsewhere (customer_id, amount) VALUES (1, 5), (71, 6)")
    conn.execute("ALTER TABLE elsewhere RENAME TO orders")
    found = resumed(conn)
    assert (found[1], found[70], found[71], red(conn)) == ((7, 3), (1, 0), (1, 0), {})


def test_an_event_table_swapped_and_applied(conn: Connection, definition: str) -> None:
    pause(conn, "customers")
    conn.execute("ALTER TABLE orders RENAME TO orders_old")
    conn.execute("CREATE TABLE orders (LIKE orders_old INCLUDING ALL)")
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    define(conn, definition)
    assert set(red(conn)) == {"paused"}
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (70, 5)")
    found = resumed(conn)
    assert (found[1], found[2], found[70], red(conn)) == ((1, 3), (0, 3), (1, 0), {})


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_the_profile_renamed(conn: Connection, paused: bool) -> None:
    """Whoever writes it, or events, is refused nothing; what was missed is counted afterwards."""
    if paused:
        pause(conn, "customers")
    conn.execute("ALTER TABLE customers RENAME TO people")
    conn.execute("DELETE FROM people WHERE customer_id = 3")
    conn.execute("UPDATE people SET customer_id = 44 WHERE customer_id = 4")
    conn.execute("UPDATE people SET age = 50 WHERE customer_id = 5")
    conn.execute("INSERT INTO people (customer_id) VALUES (70)")
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (71, 6), (70, 1)")
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    assert "public.customers is now called public.people" in red(conn)["tables"]
    conn.execute("CREATE TABLE customers (LIKE people INCLUDING ALL)")
    assert "another table has taken the place" in red(conn)["tables"]
    conn.execute("DROP TABLE customers")
    conn.execute("ALTER TABLE people RENAME TO customers")
    found = resumed(conn)
    assert sorted(found) == [1, 2, 5, 6, 7, 8, 9, 44, 70, 71]
    assert (found[1], found[44], found[70], found[71]) == ((7, 3), (0, 0), (1, 0), (1, 0))
    assert red(conn) == {}
    conn.execute("ALTER TABLE orders RENAME TO elsewhere")
    conn.execute("TRUNCATE customers")
    conn.execute("ALTER TABLE elsewhere RENAME TO orders")
    resumed(conn)


def test_partitions_attached_and_detached(plain_dsn: str) -> None:
    with psycopg.connect(plain_dsn, autocommit=True) as conn:
        altered.start(conn, altered.PARTITIONED, altered.DEFINITION)
        pause(conn, "customers")
        conn.execute("CREATE TABLE orders_4 (LIKE orders)")
        conn.execute("INSERT INTO orders_4 VALUES (301, 1, now(), 7), (302, 70, now(), 7)")
        conn.execute("ALTER TABLE orders ATTACH PARTITION orders_4 FOR VALUES FROM (300) TO (400)")
        conn.execute("ALTER TABLE orders DETACH PARTITION orders_1")
        conn.execute("INSERT INTO orders (id, customer_id, amount) VALUES (310, 71, 1)")
        told = red(conn)["tables"]
        assert "orders_4 of public.orders was attached" in told
        assert "orders_1 of public.orders was detached" in told
        resume(conn, "customers")
        assert altered.right(conn)
        counted = "SELECT sum(orders), count(*) FILTER (WHERE customer_id >= 70) FROM customers"
        assert one(conn, counted) == (one(conn, "SELECT count(*) FROM orders"), 2)
        conn.execute("INSERT INTO orders (id, customer_id, amount) VALUES (311, 71, 1)")
        define(conn, altered.DEFINITION)
        assert (red(conn), altered.right(conn)) == ({}, True)
