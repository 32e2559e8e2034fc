"""Sweeps among other sessions: how they give way, and where they go on."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from rescore.errors import Busy
from rescore.tests.support import publish
from rescore.tests.sweep_shop import (
    DEFINITION,
    Connection,
    at,
    connected,
    shop,
    state,
    wrong_version,
)
from rescore.tests.waiting import open_transaction
from rescore.trainer import operations as ops
from rescore.trainer.sweep import Terms, sweep


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        yield made


@contextmanager
def held(dsn: str, statement: str) -> Iterator[Connection]:
    """A session in the middle of a transaction."""
    with open_transaction(dsn, statement) as other:
        yield other
        other.rollback()


def test_what_was_cut_short_goes_on_where_it_stopped(conn: Connection, plain_dsn: str) -> None:
    shop(conn, DEFINITION.replace(", clock: session", ""))
    publish(conn, seed=8)
    cuts = 0
    while True:
        with psycopg.connect(plain_dsn, autocommit=True) as victim:
            pid = victim.info.backend_pid
            killer = threading.Timer(
                0.05 + random.random() / 3,
                lambda pid=pid: conn.execute("SELECT pg_terminate_backend(%s)", [pid]),
            )
            killer.start()
            try:
                victim.execute("CALL rescore.sweep('customers', '100 years', 10, 300)")
                break
            except psycopg.OperationalError:
                killer.join()
                cuts += 1
                # Cut before it had begun: there is no row yet.
                found = conn.execute("SELECT looked, position FROM rescore.sweeps").fetchone()
                looked, position = found or (0, None)
                assert looked == int(position or 0)
            finally:
                killer.cancel()
    assert cuts > 1
    assert (state(conn, "looked", "changed"), wrong_version(conn)) == ((300, 300), 0)


def cut_short(conn: Connection, terms: Terms) -> None:
    stop = threading.Event()
    sweep(conn, "customers", terms, restart=True, stop=stop, progress=lambda *_: stop.set())


def test_a_sweep_for_something_else_begins_anew(conn: Connection) -> None:
    shop(conn)
    for change in ("restart", "age", "version", "nothing"):
        cut_short(conn, Terms("100 years", 10))
        assert state(conn, "looked", "finished_at") == (10, None)
        if change == "version":
            publish(conn, seed=9)
        other = Terms("99 years" if change == "age" else "100 years", 1000)
        done = sweep(conn, "customers", other, restart=change == "restart")
        assert (done.looked, done.finished) == (300, True), change


def test_a_second_sweep_says_who_is_at_it_or_waits(conn: Connection, plain_dsn: str) -> None:
    shop(conn)
    publish(conn, seed=8)
    with psycopg.connect(plain_dsn, autocommit=True) as first:
        slow = threading.Thread(
            target=first.execute, args=("CALL rescore.sweep('customers', '100 years', 10, 250)",)
        )
        slow.start()
        time.sleep(0.3)
        for _ in range(20):
            with pytest.raises(Busy, match="is being swept") as caught:
                ops.sweep(conn, "customers", "100 years")
            assert str(first.info.backend_pid) in caught.value.detail
            time.sleep(0.02)
        assert slow.is_alive()
        waited = ops.sweep(conn, "customers", "100 years", wait=True)
        slow.join()
    assert (waited.looked, waited.changed, wrong_version(conn)) == (300, 0, 0)


def test_no_more_rows_a_second_than_told(conn: Connection) -> None:
    shop(conn)
    publish(conn, seed=8)
    assert ops.sweep(conn, "customers", "100 years", rate=300).seconds > 0.7
    assert wrong_version(conn) == 0
    # What is only looked at is not held back.
    assert ops.sweep(conn, "customers", "100 years", rate=300).seconds < 0.7


def test_a_row_held_by_others_is_passed_and_taken_up_at_the_end(
    conn: Connection, plain_dsn: str
) -> None:
    shop(conn)
    publish(conn, seed=8)
    with held(plain_dsn, "UPDATE customers SET spend = spend WHERE customer_id = 150"):
        done = ops.sweep(conn, "customers", "100 years")
        assert (done.changed, done.locked, done.finished) == (299, 1, True)
    with held(
        plain_dsn, "SELECT FROM customers WHERE customer_id IN (20, 290) FOR UPDATE"
    ) as other:
        publish(conn, seed=9)
        threading.Timer(0.5, other.rollback).start()
        done = ops.sweep(conn, "customers", "100 years")
    assert (done.changed, done.locked, wrong_version(conn)) == (300, 0, 0)


@pytest.mark.parametrize("mode", ["SHARE", "ACCESS EXCLUSIVE"])
def test_a_table_held_by_others_is_waited_for(conn: Connection, plain_dsn: str, mode: str) -> None:
    shop(conn)
    publish(conn, seed=8)
    with held(plain_dsn, f"LOCK TABLE customers IN {mode} MODE") as other:
        threading.Timer(0.7, other.rollback).start()
        done = ops.sweep(conn, "customers", "100 years")
    assert (done.changed, wrong_version(conn)) == (300, 0)


def test_nobody_is_ended_in_the_sweeps_place(conn: Connection, plain_dsn: str) -> None:
    """Writers of several rows in random order, some of them statement by statement, see no error."""
    shop(conn, customers=2000)
    stop = threading.Event()
    errors: list[BaseException] = []

    def writer(seed: int, keys: range) -> None:
        rng = random.Random(seed)
        try:
            with psycopg.connect(plain_dsn, autocommit=True) as mine:
                while not stop.is_set():
                    some = rng.sample(keys, 20)
                    if seed % 2:
                        with mine.transaction():
                            for key in some:
                                mine.execute(
                                    "INSERT INTO orders (customer_id, amount) VALUES (%s, 1)", [key]
                                )
                    else:
                        mine.execute(
                            "INSERT INTO orders (customer_id, amount) SELECT k, 1 FROM unnest(%s::bigint[]) AS k",
                            [some],
                        )
        except BaseException as error:
            errors.append(error)

    # Two sessions that take the same rows one by one, in different order, deadlock by themselves.
    spans = [range(1, 1000), range(1000, 1500), range(1, 1000), range(1500, 2000)]
    writers = [threading.Thread(target=writer, args=given) for given in enumerate(spans)]
    for each in writers:
        each.start()
    ended, written = time.monotonic() + 3, 0
    while time.monotonic() < ended:
        at(conn, f"{2030 + written % 50}-06-01")
        written += ops.sweep(conn, "customers").changed
    stop.set()
    for each in writers:
        each.join()
    assert (errors, written > 2000) == ([], True)
    assert conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []


def test_only_the_last_batch_waits_for_the_disk(conn: Connection) -> None:
    shop(conn)
    conn.execute("SET synchronous_commit = local")
    conn.execute("SELECT rescore._sweep_begin('customers', NULL, 100, NULL, 0, false)")
    waits: list[tuple[bool, str]] = []
    while not waits or not waits[-1][0]:
        with conn.transaction():
            done = "(SELECT finished FROM rescore._sweep_step('customers', NULL, 100, NULL, 0))"
            found = conn.execute(f"SELECT {done}".encode()).fetchone()
            shown = conn.execute("SHOW synchronous_commit").fetchone()
        assert found and shown
        waits.append((found[0], shown[0]))
    assert waits == [*[(False, "off")] * 3, (True, "local")]
