"""Many sessions at once: nothing lost, nothing stale, nothing seen too early."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from rescore.compiler.apply import apply
from rescore.compiler.definition import parse
from rescore.tests.support import (
    contract_of,
    linear_pipeline,
    one,
    open_profile,
    pickled,
)

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE orders (order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint, ordered_at timestamptz DEFAULT now(), amount numeric(10,2));
CREATE INDEX ON orders (customer_id);
"""
DEFINITION = """
profile: {table: customer_profile, key: {name: customer_id, type: bigint}}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
  biggest: {from: orders, max: amount}
models: {churn: {features: all}}
scores: {churn_score: {model: churn}}
"""


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with open_profile(dsn, SHOP, DEFINITION) as made:
        yield made


@contextmanager
def in_background(*jobs: Callable[[threading.Event], Any]) -> Iterator[list[Any]]:
    """Run jobs in threads of their own while the block runs; then stop them and pass on errors."""
    stop = threading.Event()
    results: list[Any] = []
    with ThreadPoolExecutor(len(jobs)) as pool:
        running = [pool.submit(job, stop) for job in jobs]
        try:
            yield results
        finally:
            stop.set()
            results += [r.result(timeout=60) for r in running]


def inserting(
    dsn: str, seed: int, customers: int = 30, rows: int = 5
) -> Callable[[threading.Event], int]:
    """Insert, update and delete random events, several customers a statement, until stopped."""

    def job(stop: threading.Event) -> int:
        rng, done = random.Random(seed), 0
        with psycopg.connect(dsn, autocommit=True) as conn:
            while not stop.is_set():
                keys = [rng.randint(1, customers) for _ in range(rng.randint(1, rows))]
                conn.execute(
                    "INSERT INTO orders (customer_id, amount) SELECT k, %s FROM unnest(%s::bigint[]) AS k",
                    [rng.randint(1, 99), keys],
                )
                if done % 3 == 0:
                    conn.execute(
                        "UPDATE orders SET amount = amount + 1, customer_id = %s WHERE order_id IN (SELECT order_id FROM orders ORDER BY random() LIMIT 2)",
                        [rng.randint(1, customers)],
                    )
                if done % 4 == 0:
                    conn.execute(
                        # In order: two DELETEs of the same rows can deadlock in any table.
                        "DELETE FROM orders WHERE order_id IN (SELECT o.order_id FROM orders AS o"
                        " WHERE o.order_id = ANY (ARRAY(SELECT order_id FROM orders ORDER BY random() LIMIT 3))"
                        " ORDER BY o.order_id FOR UPDATE)"
                    )
                done += 1
        return done

    return job


def right(conn: Connection) -> None:
    assert conn.execute("SELECT * FROM rescore.verify('customer_profile')").fetchall() == []
    assert one(conn, "SELECT count(*) FROM rescore.incident_log") == 0


def test_multi_row_statements_in_any_order_lose_nothing_and_never_deadlock(
    conn: Connection, dsn: str
) -> None:
    with in_background(*(inserting(dsn, n) for n in range(6))) as done:
        time.sleep(4)
    assert sum(done) > 100
    right(conn)


def test_rebuild_and_backfill_race_inserts(conn: Connection, dsn: str) -> None:
    with in_background(*(inserting(dsn, n) for n in range(3))):
        for n in range(12):
            one(conn, "SELECT rescore.rebuild('customer_profile')")
            feature = f"  extra: {{from: orders, sum: amount, where: 'amount > {n}'}}\n"
            apply(conn, parse(DEFINITION.replace("models:", f"{feature}models:", 1)))
    right(conn)


def test_a_sweep_races_inserts(conn: Connection, dsn: str) -> None:
    conn.execute(
        "INSERT INTO orders (customer_id, amount) SELECT i, 1 FROM generate_series(1, 400) AS i"
    )
    with in_background(*(inserting(dsn, n, customers=400, rows=20) for n in range(3))):
        for _ in range(40):
            conn.execute("CALL rescore.sweep('customer_profile', batch => 300)")
    right(conn)


def test_a_multi_row_delete_races_inserts(conn: Connection, dsn: str) -> None:
    with in_background(*(inserting(dsn, n) for n in range(3))):
        for _ in range(30):
            conn.execute(
                "DELETE FROM orders WHERE customer_id = ANY (ARRAY(SELECT 1 + (random() * 30)::int FROM generate_series(1, 5)))"
            )
            time.sleep(0.03)
    right(conn)


def test_first_events_of_the_same_customers(conn: Connection, dsn: str) -> None:
    def job(stop: threading.Event) -> None:
        with psycopg.connect(dsn, autocommit=True) as mine:
            for n in range(60):
                keys = list(range(n * 4, n * 4 + 6))
                random.shuffle(keys)
                mine.execute(
                    "INSERT INTO orders (customer_id, amount) SELECT k, 1 FROM unnest(%s::bigint[]) AS k",
                    [keys],
                )

    with in_background(*[job] * 5):
        pass
    right(conn)


def test_a_publish_is_seen_from_the_next_transaction_never_before_never_after_a_rollback(
    conn: Connection, dsn: str
) -> None:
    """Writers and prepared readers; each transaction must use a version that served when it began or later."""
    columns = len(contract_of(conn).columns())
    files = [pickled(linear_pipeline(columns, seed)) for seed in (1, 2, 3)]
    conn.execute(
        "INSERT INTO orders (customer_id, amount) SELECT i % 10, i FROM generate_series(1, 100) AS i"
    )
    serving, rolled_back = [1], set[int]()

    def reader(stop: threading.Event) -> int:
        seen = 0
        with psycopg.connect(dsn, autocommit=True) as mine:
            mine.execute(
                "PREPARE version AS SELECT rescore_compiled.churn_version(), rescore.predict('churn', p) FROM customer_profile AS p WHERE customer_id = 5"
            )
            while not stop.is_set():
                before = serving[-1]
                version, score = one(mine, "EXECUTE version")
                expected = one(
                    mine,
                    f"SELECT rescore_compiled.churn_v{version}(p.orders, p.spend, p.biggest, now()) FROM customer_profile AS p WHERE customer_id = 5",
                )
                assert version >= before and version not in rolled_back
                assert score == pytest.approx(expected, abs=1e-12)
                seen += 1
        return seen

    def writer(stop: threading.Event) -> int:
        seen = 0
        with psycopg.connect(dsn, autocommit=True) as mine:
            while not stop.is_set():
                before = serving[-1]
                mine.execute("INSERT INTO orders (customer_id, amount) VALUES (7, 1)", prepare=True)
                version = one(
                    mine, "SELECT churn_score_version FROM customer_profile WHERE customer_id = 7"
                )
                assert version >= before and version not in rolled_back
                seen += 1
        return seen

    with in_background(reader, reader, writer) as seen:
        for n in range(20):
            version = one(conn, "SELECT rescore.publish('churn', %s)", files[n % 3])
            serving.append(version)
            if n % 3 == 0:
                with conn.transaction(force_rollback=True):
                    rolled_back.add(one(conn, "SELECT rescore.publish('churn', %s)", files[n % 3]))
    assert all(s > 20 for s in seen)
    right(conn)


def test_many_double_publishes_leave_no_stale_plan(conn: Connection, dsn: str) -> None:
    """Two switches right after another, while sessions build generic plans: each then uses the last."""
    columns = len(contract_of(conn).columns())
    versions = [
        one(conn, "SELECT rescore.publish('churn', %s)", pickled(linear_pipeline(columns, s)))
        for s in (1, 2)
    ]
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (5, 5)")
    barrier, expected, rounds = threading.Barrier(4), [0], 50
    failures: list[tuple[int, int]] = []

    def session(stop: threading.Event) -> None:
        with psycopg.connect(dsn, autocommit=True) as mine:
            for n in range(rounds):
                mine.execute("SET plan_cache_mode = force_generic_plan")
                mine.execute(
                    f"PREPARE s{n} AS SELECT rescore_compiled.churn_version() + 0 * rescore.predict('churn', p) FROM customer_profile AS p WHERE customer_id = $1".encode()
                )
                barrier.wait()
                for _ in range(3):
                    mine.execute(f"EXECUTE s{n}(5)".encode())
                barrier.wait()
                found = one(mine, f"EXECUTE s{n}(5)")
                if found != expected[0]:
                    failures.append((n, found))
                mine.execute(f"DEALLOCATE s{n}".encode())

    with in_background(session, session, session):
        for n in range(rounds):
            barrier.wait()
            for version in (versions[n % 2], versions[(n + 1) % 2]):
                conn.execute("SELECT rescore.promote('churn', %s)", [version])
                expected[0] = version
            barrier.wait()
    assert failures == []
