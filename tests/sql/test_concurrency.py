"""Sessions and publishers at the same time: nobody keeps a plan of an old version."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from .conftest import SIMPLE, Model, deploy, linear_artifact, proof_of, value

WEIGHTS = [0.1, 0.02, 0.3, 0.4, -0.005]
READERS = 3
DOUBLE_PUBLISHES = 15


@pytest.fixture
def shared(conn: psycopg.Connection[Any]) -> Model:
    """A model with a predict function over rows, as a definition would have it."""
    model = deploy(conn, SIMPLE)
    model.publish(WEIGHTS)
    conn.execute("INSERT INTO customer (id) VALUES (1)")
    conn.execute(
        """CREATE FUNCTION rescore.predict(model text, "row" customer) RETURNS float8 STABLE
           LANGUAGE sql AS $$ SELECT CASE WHEN $1 = 'churn' THEN
               rescore_compiled.churn_version()::float8
               + 0 * rescore_compiled.churn(($2).orders, ($2).spend, ($2).channel,
                                            ($2).last_order, pg_catalog.now())
               ELSE rescore._unknown_model($1) END $$"""
    )
    conn.execute("SELECT rescore._secure()")
    return model


class Reader(threading.Thread):
    """Asks with a prepared statement which version scores, and checks it against the last commit."""

    def __init__(self, dsn: str, committed: list[int]) -> None:
        super().__init__()
        self.dsn, self.committed = dsn, committed
        self.stop = threading.Event()
        self.stale: list[tuple[int, int]] = []
        self.seen: set[int] = set()

    def run(self) -> None:
        """Read until told to stop."""
        with psycopg.connect(self.dsn, autocommit=True, prepare_threshold=0) as conn:
            conn.execute("SET plan_cache_mode = force_generic_plan")
            while not self.stop.is_set():
                at_least = self.committed[-1]
                found = int(value(conn, "SELECT rescore.predict('churn', p) FROM customer AS p"))
                self.seen.add(found)
                if found < at_least:
                    self.stale.append((found, at_least))


@contextmanager
def readers(dsn: str, committed: list[int]) -> Iterator[list[Reader]]:
    started = [Reader(dsn, committed) for _ in range(READERS)]
    for each in started:
        each.start()
    try:
        yield started
    finally:
        for each in started:
            each.stop.set()
        for each in started:
            each.join()


@pytest.mark.long
def test_double_publishes_leave_no_stale_plan(shared: Model, dsn: str) -> None:
    data = linear_artifact(WEIGHTS)
    proof = proof_of(data, shared.contract)
    committed = [1]
    with readers(dsn, committed) as reading:
        for _ in range(DOUBLE_PUBLISHES):
            for _ in range(2):
                committed.append(shared.publish_proof(data, proof))
    assert [each.stale for each in reading] == [[]] * READERS
    assert all(len(each.seen) > 10 for each in reading)


def test_a_plan_made_during_a_publish_does_not_outlive_it(shared: Model, dsn: str) -> None:
    # Evaluated by the planner, after predict has been inlined: the publish falls into that pause.
    shared.conn.execute(
        """CREATE FUNCTION pause(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
           BEGIN PERFORM pg_sleep(CASE WHEN current_setting('test.pause', true) = 'on'
                                  THEN 1 ELSE 0 END); RETURN n; END $$"""
    )
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("SET plan_cache_mode = force_generic_plan; SET test.pause = 'on'")
        other.execute(
            "PREPARE q AS SELECT rescore.predict('churn', p), pause(1) FROM customer AS p"
        )
        reading = threading.Thread(target=other.execute, args=("EXECUTE q",))
        reading.start()
        time.sleep(0.3)
        shared.publish(WEIGHTS)
        assert reading.is_alive()
        reading.join()
        other.execute("SET test.pause = 'off'")
        assert value(other, "EXECUTE q") == 2


def test_an_uncommitted_publish_is_seen_by_nobody_else(shared: Model, dsn: str) -> None:
    query = "SELECT rescore.predict('churn', p) FROM customer AS p"
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=0) as other:
        assert value(other, query) == 1
        with shared.conn.transaction(force_rollback=True):
            shared.publish(WEIGHTS)
            assert value(shared.conn, query) == 2
            assert value(other, query) == 1
        assert value(other, query) == 1
        assert value(shared.conn, query) == 1


def test_publishers_wait_for_each_other(shared: Model, dsn: str) -> None:
    data = linear_artifact(WEIGHTS)
    proof = proof_of(data, shared.contract)
    made: list[int] = []

    def publish() -> None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            mine = Model(conn, "churn", shared.contract)
            made.extend(mine.publish_proof(data, proof) for _ in range(10))

    threads = [threading.Thread(target=publish) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(made) == list(range(2, 32))
    champion = value(shared.conn, "SELECT champion FROM rescore.deployments")
    assert champion == value(shared.conn, "SELECT rescore_compiled.churn_version()") == max(made)
