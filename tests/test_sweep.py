"""Sweeps: what they touch, how they give way, and where they go on."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sklearn.tree import DecisionTreeRegressor

from rescore.errors import Busy
from rescore.plpython.artifact import dump
from rescore.tests.support import define, one, publish
from rescore.trainer import operations as ops
from rescore.trainer.sweep import Terms, sweep

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE orders (order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint, ordered_at timestamptz DEFAULT now(), amount numeric(10,2));
CREATE INDEX ON orders (customer_id);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}, clock: session}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
  days_since_order: {from: orders, days_since: last}
models: {churn: {features: all}, worth: {features: [orders, spend]}}
scores: {churn_score: {model: churn}}
"""
WITHOUT_TIME = DEFINITION.replace("{churn: {features: all}", "{churn: {features: [orders, spend]}")
CALL = "CALL rescore.sweep('customers')"


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        yield made


@contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as made:
        made.execute(SHOP.encode())
        at(made, "2026-01-01")
        yield made


def shop(conn: Connection, definition: str = DEFINITION, customers: int = 300) -> None:
    """A profile with a serving version, and customers whose last orders lie apart."""
    define(conn, definition)
    publish(conn)
    conn.execute(
        """INSERT INTO orders (customer_id, ordered_at, amount)
           SELECT i, timestamptz '2025-12-01Z' + i * interval '1 hour', i %% 17
           FROM generate_series(1, %s) AS i""",
        [customers],
    )


def at(conn: Connection, moment: str) -> None:
    conn.execute("SELECT set_config('rescore.clock', %s, false)", [f"{moment} 00:00:00+00"])


def rows(conn: Connection) -> dict[int, Any]:
    """Where each row stands: another place says that it was written."""
    return dict(conn.execute("SELECT customer_id, ctid::text || xmin::text FROM customers"))


def state(conn: Connection, *columns: str) -> Any:
    return one(conn, f"SELECT {', '.join(columns)} FROM rescore.sweeps")


def wrong(conn: Connection) -> int:
    """How many stored scores are not what the model says now."""
    query = """SELECT count(*) FROM customers AS p WHERE churn_score IS NULL
               OR abs(churn_score - rescore.predict('churn', p)) > 1e-12"""
    return int(one(conn, query))


@contextmanager
def held(dsn: str, statement: str) -> Iterator[Connection]:
    """A session in the middle of a transaction."""
    with psycopg.connect(dsn) as other:
        other.execute(statement.encode())
        yield other
        other.rollback()


def test_time_moves_scores_and_events_do_not(conn: Connection) -> None:
    shop(conn)
    assert wrong(conn) == 0
    at(conn, "2026-02-01")
    assert wrong(conn) == 300
    conn.execute(CALL)
    assert (wrong(conn), state(conn, "looked", "changed")) == (0, (300, 300))
    before = rows(conn)
    conn.execute(CALL)
    assert rows(conn) == before


def test_only_what_moved_by_more_than_the_tolerance_is_written(conn: Connection) -> None:
    shop(conn)
    at(conn, "2026-01-20")
    before, query = (
        rows(conn),
        "SELECT customer_id, abs(churn_score - rescore.predict('churn', p)) FROM customers AS p",
    )
    moved = dict(conn.execute(query.encode()))
    tolerance = sorted(moved.values())[150]
    conn.execute("CALL rescore.sweep('customers', tolerance => %s)", [tolerance])
    written = {key for key, place in rows(conn).items() if place != before[key]}
    assert written == {key for key, by in moved.items() if by > tolerance}
    assert 100 < len(written) < 200


def test_a_score_younger_than_the_age_is_left_alone(conn: Connection) -> None:
    shop(conn)
    conn.execute("UPDATE customers SET churn_score_at = '2025-11-01Z' WHERE customer_id <= 10")
    conn.execute("CALL rescore.sweep('customers', '20 days')")
    assert state(conn, "looked", "changed") == (300, 10)


def test_another_version_and_a_stale_mark_are_written_whatever_the_age(conn: Connection) -> None:
    shop(conn)
    conn.execute("UPDATE customers SET churn_score_at = NULL WHERE customer_id <= 5")
    conn.execute("CALL rescore.sweep('customers', '100 years', tolerance => 9)")
    assert state(conn, "changed") == 5
    publish(conn, seed=8)
    conn.execute("CALL rescore.sweep('customers', '100 years', tolerance => 9)")
    assert (state(conn, "changed"), wrong(conn)) == (300, 0)


def test_without_time_in_the_model_nothing_moves(conn: Connection) -> None:
    shop(conn, WITHOUT_TIME)
    before = rows(conn)
    at(conn, "2026-02-01")
    conn.execute(CALL)
    assert (rows(conn), state(conn, "looked")) == (before, 300)


def test_an_event_of_the_future_is_counted_when_its_time_has_come(conn: Connection) -> None:
    shop(conn)
    conn.execute(
        "INSERT INTO orders (customer_id, ordered_at, amount) VALUES (7, '2026-01-10Z', 5)"
    )
    at(conn, "2026-01-11")
    conn.execute("CALL rescore.sweep('customers', '100 years', tolerance => 9)")
    assert one(conn, "SELECT orders FROM customers WHERE customer_id = 7") == 2
    assert conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []


def test_the_swept_score_is_the_live_score(conn: Connection) -> None:
    shop(conn)
    at(conn, "2026-03-01")
    live = dict(
        conn.execute("SELECT customer_id, rescore.predict_key('churn', customer_id) FROM customers")
    )
    conn.execute(CALL)
    assert dict(conn.execute("SELECT customer_id, churn_score FROM customers")) == live


def test_who_is_no_longer_scored_loses_the_score(conn: Connection) -> None:
    conn.execute("CREATE TABLE customers (customer_id bigint PRIMARY KEY, active boolean)")
    shop(conn, DEFINITION.replace("clock: session", "clock: session, only: active"), 20)
    conn.execute("UPDATE customers SET active = customer_id <= 10")
    conn.execute("ALTER TABLE customers DISABLE TRIGGER USER")
    conn.execute("UPDATE customers SET active = NOT active")
    conn.execute("ALTER TABLE customers ENABLE TRIGGER USER")
    conn.execute("CALL rescore.sweep('customers', '100 years')")
    found = conn.execute(
        "SELECT active, count(churn_score), count(churn_score_at) FROM customers GROUP BY 1 ORDER BY 1"
    )
    assert found.fetchall() == [(False, 0, 0), (True, 10, 10)]


def test_models_that_python_scores(dsn: str) -> None:
    with connected(dsn) as conn:
        swept_by_python(conn)


def swept_by_python(conn: Connection) -> None:
    define(conn, DEFINITION)
    publish(conn)
    conn.execute(
        """INSERT INTO orders (customer_id, ordered_at, amount)
           SELECT i, timestamptz '2025-12-01Z', 5 FROM generate_series(1, 200) AS i"""
    )
    # Steps, so that a day moves nothing.
    tree = DecisionTreeRegressor().fit([[0, 0, 0], [0, 0, 40], [0, 0, 90]], [0.0, 0.5, 0.9])
    one(conn, "SELECT rescore.publish('churn', %s)", dump(tree, "joblib"))
    conn.execute(CALL)
    assert (state(conn, "changed"), wrong(conn)) == (200, 0)
    before = rows(conn)
    at(conn, "2026-01-02")
    conn.execute(CALL)
    assert rows(conn) == before
    at(conn, "2026-03-01")
    conn.execute(CALL)
    assert (state(conn, "changed"), wrong(conn)) == (200, 0)


@pytest.mark.parametrize("kind", ["text", "uuid"])
def test_keys_of_every_type(conn: Connection, kind: str) -> None:
    key = {"text": "'k''' || i", "uuid": "md5(i::text)::uuid"}[kind]
    conn.execute(f"ALTER TABLE orders ALTER customer_id TYPE {kind} USING NULL".encode())
    define(conn, DEFINITION.replace("type: bigint", f"type: {kind}"))
    publish(conn)
    conn.execute(
        f"INSERT INTO orders (customer_id, amount) SELECT {key}, 1 FROM generate_series(1, 100) AS i".encode()
    )
    at(conn, "2030-01-01")
    conn.execute("CALL rescore.sweep('customers', batch => 7)")
    assert (wrong(conn), state(conn, "looked", "changed")) == (0, (100, 100))


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
                looked, position = state(conn, "looked", "position")
                assert looked == int(position or 0)
            finally:
                killer.cancel()
    assert cuts > 1
    assert (state(conn, "looked", "changed"), wrong_version(conn)) == ((300, 300), 0)


def wrong_version(conn: Connection) -> int:
    return int(
        one(
            conn,
            "SELECT count(*) FROM customers WHERE churn_score_version <> rescore_compiled.churn_version()",
        )
    )


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
    ended, written = time.monotonic() + 4, 0
    while time.monotonic() < ended:
        at(conn, f"{2030 + written % 50}-06-01")
        written += ops.sweep(conn, "customers").changed
    stop.set()
    for each in writers:
        each.join()
    assert (errors, written > 2000) == ([], True)
    assert conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []


@pytest.mark.parametrize(
    "given",
    [
        "batch => 0",
        "rate => 0",
        "rate => 'NaN'",
        "tolerance => -1",
        "tolerance => 'NaN'",
        "max_age => '-1 day'",
    ],
)
def test_what_no_sweep_takes_is_refused(conn: Connection, given: str) -> None:
    shop(conn, customers=1)
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(f"CALL rescore.sweep('customers', {given})".encode())
    assert (caught.value.sqlstate, given.split()[0] in str(caught.value)) == ("RS020", True)


def test_a_profile_without_scores_has_nothing_to_sweep(conn: Connection) -> None:
    define(conn, DEFINITION[: DEFINITION.index("models:")])
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 1)")
    before = rows(conn)
    conn.execute(CALL)
    assert rows(conn) == before
