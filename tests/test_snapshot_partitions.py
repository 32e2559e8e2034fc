"""Partitions of snapshots: made ahead of need, and while others read and write; dropped when they are old."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from rescore.tests.snapshot_shop import (
    DEFINITION,
    Connection,
    at,
    connected,
    order,
    shop,
    snapshot,
)
from rescore.tests.support import one
from rescore.trainer.snapshots import log

ON_EVENTS = DEFINITION.replace("{every: 1 day}", "{on: orders, share: 100%}")


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with connected(dsn) as made:
        yield made


def test_partitions_are_made_ahead_and_take_what_came_before_them(conn: Connection) -> None:
    shop(conn, ON_EVENTS, 0, models=("churn",))
    where = "SELECT tableoid::regclass::text FROM rescore.snapshots"
    with conn.transaction(force_rollback=True):
        order(conn, 1, "2026-01-01")
        assert one(conn, where) == "rescore.snapshots_2026_01"
    conn.execute("DROP TABLE rescore.snapshots_2026_01, rescore.snapshots_2026_02")
    order(conn, 1, "2026-01-01")
    assert one(conn, where) == "rescore.snapshots_rest"
    log(conn, "customers", rounds=False)
    assert one(conn, where) == "rescore.snapshots_2026_01"
    assert one(conn, "SELECT to_regclass('rescore.snapshots_2026_02') IS NOT NULL")
    missing = """SELECT count(*) FROM pg_attribute WHERE attrelid = 'rescore.snapshots_2026_01'::regclass
                 AND attnum > 0 AND col_description(attrelid, attnum) IS NULL"""
    assert one(conn, missing) == 0


def test_who_logs_while_a_partition_is_made_finds_it(conn: Connection, dsn: str) -> None:
    text = ON_EVENTS.replace(", clock: session", "")
    shop(conn, text, 0, models=("churn",))
    where = "SELECT tableoid::regclass::text FROM rescore.snapshots"
    now = "INSERT INTO orders (customer_id, ordered_at) VALUES (1, now())"
    conn.execute(now.encode())
    made = one(conn, where)
    conn.execute(f"DROP TABLE {made}".encode())
    with psycopg.connect(dsn) as maker, ThreadPoolExecutor() as pool:
        assert one(maker, "SELECT 'rescore.' || rescore._snapshot_partition(now())") == made
        writing = pool.submit(conn.execute, now.encode())
        waits = "SELECT count(*) FROM pg_locks WHERE relation::regclass::text LIKE 'rescore.snapshots%' AND NOT granted"
        while not one(maker, waits):
            assert not writing.done()
        maker.commit()
        writing.result()
    assert one(conn, "SELECT count(*) FROM rescore.incidents") == 0
    assert conn.execute(where.encode()).fetchall() == [(made,)]


WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def test_two_who_miss_a_partition_make_one(conn: Connection, dsn: str) -> None:
    make = "SELECT rescore._snapshot_partition('2031-05-05Z')"
    with psycopg.connect(dsn) as first, ThreadPoolExecutor() as pool:
        made = one(first, make)
        second = pool.submit(one, conn, make)
        while not one(first, WAITS):
            assert not second.done()
        first.commit()
        assert second.result() == made


def make_past(conn: Connection) -> str | None:
    """Make a partition that readers would have to wait for, however often it has to be tried."""
    made = None
    while made is None:
        made = one(conn, "SELECT rescore._snapshot_partition('2020-05-05Z')")
    return str(made)


def test_who_resolves_while_a_past_partition_is_made_goes_on(conn: Connection, dsn: str) -> None:
    shop(conn, models=("churn",))
    snapshot(conn)
    with psycopg.connect(dsn) as resolver, ThreadPoolExecutor() as pool:
        resolver.execute("SET rescore.clock = '2026-01-02Z'")
        step = "SELECT rescore._resolve_step('customers')"
        assert one(resolver, step) == 0
        making = pool.submit(make_past, conn)
        while not one(resolver, WAITS):
            assert not making.done()
        resolver.execute("SET rescore.clock = '2026-02-02Z'")
        assert one(resolver, step) == 20
        resolver.commit()
        assert making.result() == "snapshots_2020_05"


def test_who_read_before_writing_while_a_past_partition_is_made_goes_on(
    conn: Connection, dsn: str
) -> None:
    shop(conn, models=("churn",))
    snapshot(conn)
    with psycopg.connect(dsn) as writer, ThreadPoolExecutor() as pool:
        ids = one(writer, "SELECT array_agg(id) FROM rescore.snapshots")
        making = pool.submit(make_past, conn)
        while not one(writer, WAITS):
            assert not making.done()
        assert one(writer, "SELECT rescore.quarantine('churn', %s, 'a bot')", ids) == 20
        writer.commit()
        assert making.result() == "snapshots_2020_05"


def test_old_partitions_are_dropped_but_not_those_others_need(conn: Connection) -> None:
    shop(conn, DEFINITION.replace("every: 1 day", "every: 1 day, keep: 40 days"), models=("churn",))
    for day in ("2026-01-01", "2026-02-20", "2026-03-25"):
        at(conn, day)
        snapshot(conn)
    conn.execute(
        """INSERT INTO rescore.snapshots (model, key, taken_at, version, design, due_at)
           VALUES ('other', '1', '2026-02-21Z', 1, '{}', '2026-03-01Z')"""
    )
    at(conn, "2026-05-03")
    assert log(conn, "customers", rounds=False).dropped == 40
    kept = "SELECT model, tableoid::regclass::text FROM rescore.snapshots GROUP BY 1, 2 ORDER BY 1"
    assert conn.execute(kept.encode()).fetchall() == [
        ("churn", "rescore.snapshots_2026_03"),
        ("other", "rescore.snapshots_2026_02"),
    ]
    assert not one(conn, "SELECT to_regclass('rescore.snapshots_2026_01') IS NOT NULL")


READS = "SELECT count(*) FROM rescore.snapshots"
TOLD = "SELECT status || ': ' || detail FROM rescore.health WHERE \"check\" = 'partitions'"


def longest_read(conn: Connection, making: Future[Any]) -> float:
    """Read until a partition is made, or is not; return how long a reader waited at most."""
    longest = 0.0
    while not making.done():
        began = time.monotonic()
        one(conn, READS)
        longest = max(longest, time.monotonic() - began)
        time.sleep(0.005)
    return longest


@pytest.mark.parametrize("month", ["2020-05-05Z", "2040-05-05Z"], ids=["past", "future"])
def test_no_reader_waits_long_behind_a_partition_that_waits_for_another(
    conn: Connection, dsn: str, month: str
) -> None:
    make = f"SELECT rescore._snapshot_partition('{month}')"
    with psycopg.connect(dsn) as long, psycopg.connect(dsn, autocommit=True) as short:
        with ThreadPoolExecutor() as pool:
            one(long, READS)  # and goes on, for as long as its transaction is open
            making = pool.submit(one, conn, make)
            assert longest_read(short, making) < 1.0
            assert making.result() is None
        long.rollback()
    assert one(conn, make) is not None


def test_a_partition_that_cannot_be_made_is_told_and_made_once_it_can(
    conn: Connection, dsn: str
) -> None:
    shop(conn, ON_EVENTS.replace(", clock: session", ""), 0, models=("churn",))
    conn.execute("INSERT INTO orders (customer_id, ordered_at) VALUES (1, now())")
    where = "SELECT array_agg(DISTINCT tableoid::regclass::text) FROM rescore.snapshots"
    (made,) = one(conn, where)
    conn.execute(f"DROP TABLE {made}".encode())
    conn.execute("INSERT INTO orders (customer_id, ordered_at) VALUES (1, now())")
    with psycopg.connect(dsn) as long:
        one(long, READS)
        log(conn, "customers", rounds=False)
        pid = long.info.backend_pid
        assert one(conn, TOLD).startswith(
            f"warning: {made} is not made yet, its snapshots are in rescore.snapshots_rest; in use by session {pid};"
        )
    assert one(conn, where) == ["rescore.snapshots_rest"]
    log(conn, "customers", rounds=False)
    assert one(conn, where) == [made]
    assert one(conn, TOLD) == "ok: as they should be"


def test_a_partition_that_cannot_be_dropped_is_told_and_dropped_once_it_can(
    conn: Connection, dsn: str
) -> None:
    daily = DEFINITION.replace("every: 1 day", "every: 1 day, keep: 40 days")
    shop(conn, daily.replace(", clock: session", ""), 0, models=("churn",))
    old = make_past(conn)
    conn.execute(
        """INSERT INTO rescore.snapshots (model, key, taken_at, version, design, due_at)
           VALUES ('churn', '1', '2020-05-05Z', 1, '{}', '2020-06-06Z')"""
    )
    with psycopg.connect(dsn) as long, psycopg.connect(dsn, autocommit=True) as short:
        one(long, READS)
        with ThreadPoolExecutor() as pool:
            logging = pool.submit(log, conn, "customers", rounds=False)
            assert longest_read(short, logging) < 1.0
            assert logging.result().dropped == 0
        told = one(conn, TOLD)
        assert told.startswith(f"warning: rescore.{old} is older than anything is kept")
        assert f"session {long.info.backend_pid}" in told
    assert log(conn, "customers", rounds=False).dropped == 1
    assert one(conn, "SELECT to_regclass(%s) IS NULL", f"rescore.{old}")
    assert one(conn, TOLD) == "ok: as they should be"
