"""What is reported: moves that add up, bands, and nothing else, whoever wrote the score."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from rescore.tests.outbox_shop import (
    MOVED,
    Connection,
    check,
    definition,
    forget,
    open_shop,
    order,
    publish,
    reports,
    right,
)
from rescore.tests.support import define, one


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(plain_dsn, autocommit=True) as made:
        yield made


@pytest.fixture
def shop(conn: Connection) -> Connection:
    open_shop(conn, MOVED)
    return conn


def test_small_moves_add_up(any_dsn: str) -> None:
    with psycopg.connect(any_dsn, autocommit=True) as conn:
        open_shop(conn, MOVED)
        order(conn, 1, times=7)
        assert reports(conn) == [("1", None, 0.1), ("1", 0.1, 0.4), ("1", 0.4, 0.7)]
        conn.execute("DELETE FROM orders WHERE ctid IN (SELECT ctid FROM orders LIMIT 4)")
        assert reports(conn)[3:] == [("1", 0.7, 0.3)]
        row = conn.execute("""SELECT o.profile, o.score, o.model, o.version, o.at = c.score_at, o.old_band
                              FROM rescore.outbox AS o, customers AS c ORDER BY o.id DESC LIMIT 1""")
        assert row.fetchone() == ("customers", "score", "churn", 1, True, None)
        check(conn)
        assert right(conn)


def test_a_row_made_by_an_event_is_reported_once(shop: Connection) -> None:
    shop.execute(
        "INSERT INTO orders (customer_id) SELECT 1 + i % 3 FROM generate_series(0, 29) AS i"
    )
    assert reports(shop) == [("1", None, 1.0), ("2", None, 1.0), ("3", None, 1.0)]
    shop.execute("INSERT INTO customers (customer_id, bonus) VALUES (4, 0.5), (5, 0)")
    assert reports(shop)[3:] == [("4", None, 0.5), ("5", None, 0.0)]
    shop.execute("""INSERT INTO customers (customer_id, bonus) VALUES (4, 9), (1, 9)
                    ON CONFLICT (customer_id) DO NOTHING""")
    assert len(reports(shop)) == 5
    shop.execute("""INSERT INTO customers (customer_id, bonus) VALUES (4, 9), (6, 1)
                    ON CONFLICT (customer_id) DO UPDATE SET bonus = excluded.bonus""")
    assert reports(shop)[5:] == [("4", 0.5, 9.0), ("6", None, 1.0)]
    check(shop)


def test_a_customer_made_by_events_that_do_not_count(conn: Connection) -> None:
    open_shop(conn)
    large = "orders: {from: orders, count: true, where: large}"
    text = definition("bands: {none: 0}", MOVED).replace(
        "orders: {from: orders, count: true}", large
    )
    conn.execute("ALTER TABLE orders ADD COLUMN large boolean NOT NULL DEFAULT false")
    define(conn, text)
    order(conn, 1)
    conn.execute("UPDATE orders SET customer_id = 2")
    conn.execute("INSERT INTO orders (customer_id) VALUES (3), (4)")
    assert reports(conn) == [(key, None, 0.0) for key in "1234"]
    assert one(conn, "SELECT count(*) FROM customers WHERE score_band = 'none'") == 4
    check(conn)


@pytest.mark.parametrize("engine", ["auto", "python"])
def test_whoever_writes_the_score(dsn: str, engine: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        open_shop(conn, MOVED, engine=engine)
        _write_in_every_way(conn)


def _write_in_every_way(conn: Connection) -> None:
    conn.execute(
        "INSERT INTO orders (customer_id) SELECT 1 + i % 4 FROM generate_series(0, 19) AS i"
    )
    for statement, moved in [
        ("INSERT INTO orders (customer_id) SELECT i FROM generate_series(1, 3) AS i, generate_series(1, 3)", 3),
        ("UPDATE orders SET customer_id = 4 WHERE customer_id = 1", 2),
        ("UPDATE customers SET bonus = bonus + 0.2", 0),
        ("UPDATE customers SET bonus = bonus + 0.2", 4),
        ("UPDATE customers SET score = 0.5 WHERE customer_id = 2", 1),
        ("SELECT rescore.rebuild('customers')", 1),
        ("TRUNCATE orders", 3),
    ]:  # fmt: skip
        before = len(reports(conn))
        conn.execute(statement.encode())
        assert len(reports(conn)) - before == moved, statement
        check(conn)
    conn.execute(
        "INSERT INTO orders (customer_id) SELECT i FROM generate_series(1, 2) AS i, generate_series(1, 5)"
    )
    publish(conn, per_order=0.2)
    before = len(reports(conn))
    conn.execute("CALL rescore.sweep('customers')")
    assert sorted(r[0] for r in reports(conn)[before:]) == ["1", "2"]
    check(conn)
    assert right(conn)


def test_who_is_no_longer_scored(shop: Connection) -> None:
    order(shop, 1)
    shop.execute("UPDATE customers SET active = false")
    order(shop, 1)
    shop.execute("UPDATE customers SET active = true")
    assert reports(shop) == [("1", None, 0.1), ("1", 0.1, None), ("1", None, 0.2)]
    check(shop)
    versions = shop.execute("SELECT version, at IS NULL FROM rescore.outbox ORDER BY id").fetchall()
    assert versions == [(1, False), (None, False), (1, False)]


def test_rows_that_go_and_keys_that_change(shop: Connection) -> None:
    shop.execute("INSERT INTO customers (customer_id, bonus) VALUES (1, 1), (2, 2), (3, 3)")
    forget(shop)
    shop.execute("DELETE FROM customers WHERE customer_id = 1")
    shop.execute("UPDATE customers SET customer_id = 20 WHERE customer_id = 2")
    shop.execute("UPDATE customers SET customer_id = 30, bonus = 30 WHERE customer_id = 3")
    assert reports(shop) == [
        ("1", 1.0, None),
        ("2", 2.0, None), ("20", None, 2.0),
        ("3", 3.0, None), ("30", None, 30.0),
    ]  # fmt: skip
    forget(shop)
    shop.execute("TRUNCATE customers")
    assert reports(shop) == [("20", 2.0, None), ("30", 30.0, None)]


def test_nothing_is_left_of_what_is_undone(shop: Connection) -> None:
    order(shop, 1)
    before = reports(shop)
    with shop.transaction(force_rollback=True):
        order(shop, 1, times=9)
        assert len(reports(shop)) == 4
    with shop.transaction():
        with shop.transaction() as inner:
            order(shop, 1, times=9)
            raise psycopg.Rollback(inner)
        order(shop, 1)  # type: ignore[unreachable]
    assert reports(shop) == before
    check(shop)


def test_a_score_that_fails_is_reported_when_it_has_been_given(shop: Connection) -> None:
    order(shop, 1)
    shop.execute("ALTER FUNCTION rescore_compiled.churn_version() RENAME TO gone")
    order(shop, 1, times=5)
    order(shop, 2, times=5)
    assert reports(shop) == [("1", None, 0.1)]
    shop.execute("ALTER FUNCTION rescore_compiled.gone() RENAME TO churn_version")
    shop.execute("CALL rescore.sweep('customers')")
    assert reports(shop)[1:] == [("1", 0.1, 0.6), ("2", None, 0.5)]
    check(shop)


def test_an_outbox_on_a_live_profile(conn: Connection) -> None:
    open_shop(conn)
    conn.execute(
        "INSERT INTO orders (customer_id) SELECT 1 + i % 3 FROM generate_series(0, 8) AS i"
    )
    define(conn, definition(MOVED))
    assert one(conn, "SELECT count(*) FROM rescore.outbox") == 0
    order(conn, 1, times=2)
    assert reports(conn) == []
    order(conn, 1)
    order(conn, 4)
    conn.execute("DELETE FROM customers WHERE customer_id = 2")
    assert reports(conn) == [("1", 0.3, 0.6), ("4", None, 0.1), ("2", 0.3, None)]
    define(conn, definition())
    order(conn, 1, times=9)
    assert len(reports(conn)) == 3
    assert (
        one(conn, "SELECT count(*) FROM pg_proc WHERE proname ~ '__row_(report|outbox|emptied)'")
        == 0
    )
    define(conn, definition(MOVED))
    order(conn, 1)
    assert reports(conn)[3:] == [("1", 0.6, 1.6)]
    define(conn, definition(), drop=True)
    assert one(conn, "SELECT count(*) FROM pg_attribute WHERE attname = 'score_reported'") == 0
    assert right(conn)


def test_writers_need_no_rights_on_the_outbox_and_readers_only_the_functions(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        open_shop(conn, MOVED)
        _as_others(conn)


def _as_others(shop: Connection) -> None:
    reading = "SELECT count(*) FROM rescore.outbox_read('crm')"
    shop.execute("SELECT rescore.outbox_register('crm')")
    shop.execute("CREATE ROLE outbox_app; CREATE ROLE outbox_reader")
    try:
        shop.execute(
            "GRANT INSERT ON orders TO outbox_app; GRANT SELECT, UPDATE ON customers TO outbox_app"
        )
        with as_role(shop, "outbox_app"):
            order(shop, 1)
            shop.execute("UPDATE customers SET bonus = 7")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                one(shop, reading)
        shop.execute("GRANT USAGE ON SCHEMA rescore TO outbox_reader")
        shop.execute(
            "GRANT EXECUTE ON FUNCTION rescore.outbox_read, rescore.outbox_ack TO outbox_reader"
        )
        with as_role(shop, "outbox_reader"):
            assert one(shop, reading) == 2
            assert one(shop, "SELECT rescore.outbox_ack('crm', 2)") is True
    finally:
        shop.execute("DROP OWNED BY outbox_app, outbox_reader; DROP ROLE outbox_app, outbox_reader")


@contextmanager
def as_role(conn: Connection, role: str) -> Iterator[None]:
    conn.execute(f"SET ROLE {role}".encode())
    try:
        yield
    finally:
        conn.execute("RESET ROLE")
