"""A paused profile touches nobody who writes; resumed, it has counted what happened meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from rescore import cli
from rescore.errors import Busy, Paused, UnknownProfile
from rescore.tests.support import define, one, open_profile
from rescore.trainer import operations as ops
from rescore.trainer.fold import fold, folding
from rescore.trainer.pause import pause, resume

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint,
    at timestamptz DEFAULT now(), amount numeric(10,2));
CREATE INDEX ON orders (customer_id);
CREATE TABLE visits (session_id bigint);
CREATE TABLE sessions (session_id bigint PRIMARY KEY, customer_id bigint);
CREATE TABLE customers (customer_id bigint PRIMARY KEY, age int);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}}
links: {session: {table: sessions, on: session_id, gives: customer_id}}
events: {orders: {time: at MODE}, visits: {via: session}}
features:
  orders: {from: orders, count: true}
  biggest: {from: orders, max: amount}
  visits: {from: visits, count: true}
  age: {column: age}
models: {churn: {features: all}}
scores: {churn_score: {model: churn}}
"""


@pytest.fixture(params=["", ", mode: queued"], ids=["live", "queued"])
def conn(request: pytest.FixtureRequest, plain_dsn: str) -> Iterator[Connection]:
    with open_profile(plain_dsn, SHOP, DEFINITION.replace(" MODE", request.param)) as made:
        made.execute("INSERT INTO sessions SELECT i, i FROM generate_series(1, 9) AS i")
        made.execute("INSERT INTO visits SELECT 1 + i % 9 FROM generate_series(1, 30) AS i")
        made.execute(
            "INSERT INTO orders (customer_id, amount) SELECT i % 9, i FROM generate_series(1, 60) AS i"
        )
        ops.fold(made, "customers", 100)
        yield made


def differences(conn: Connection) -> list[Any]:
    return conn.execute("SELECT * FROM rescore.verify('customers')").fetchall()


def scores_wrong(conn: Connection) -> int:
    query = "SELECT count(*) FROM customers AS p WHERE churn_score IS DISTINCT FROM rescore.predict('churn', p)"
    return int(one(conn, query))


def health(conn: Connection) -> dict[str, tuple[str, str]]:
    rows = conn.execute('SELECT "check", status, detail FROM rescore.health').fetchall()
    return {check: (status, detail) for check, status, detail in rows}


def live_on(conn: Connection) -> None:
    """Everything that can happen to events, links and rows of the profile."""
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 999), (77, 5), (NULL, 1)")
    conn.execute("UPDATE orders SET customer_id = 3, amount = amount + 1 WHERE id % 4 = 0")
    conn.execute("DELETE FROM orders WHERE id % 5 = 0")
    conn.execute("TRUNCATE visits")
    conn.execute("INSERT INTO visits VALUES (1), (1), (4)")
    conn.execute("UPDATE sessions SET customer_id = 5 WHERE session_id = 4")
    conn.execute("DELETE FROM customers WHERE customer_id = 2")
    conn.execute("INSERT INTO customers (customer_id, age) VALUES (500, 40)")
    conn.execute("UPDATE customers SET age = 33 WHERE customer_id = 6")


def test_nothing_happens_while_paused_and_everything_is_counted_afterwards(
    conn: Connection,
) -> None:
    assert pause(conn, "customers", "an incident") > 8
    rows = conn.execute("SELECT * FROM customers WHERE customer_id = 1").fetchall()
    live_on(conn)
    assert conn.execute("SELECT * FROM customers WHERE customer_id = 1").fetchall() == rows
    assert one(conn, "SELECT count(*) FROM rescore.queue") == 0
    assert differences(conn) != []
    status, detail = health(conn)["paused"]
    assert status == "error"
    assert "customers since " in detail
    assert health(conn)["triggers"][0] == "ok"
    assert resume(conn, "customers") > 8
    assert health(conn)["paused"] == ("ok", "no profile")
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (3, 6)")
    fold(conn, "customers", batch=2)
    assert differences(conn) == []
    assert scores_wrong(conn) == 0
    assert one(conn, "SELECT count(*) FROM customers WHERE customer_id IN (2, 77, 500)") == 2
    assert one(conn, "SELECT count(*) FROM rescore.incident_log") == 0
    assert resume(conn, "customers") == 0


def test_catching_up_goes_on_where_it_stopped(conn: Connection) -> None:
    pause(conn, "customers")
    live_on(conn)
    resume(conn, "customers")
    for _ in range(3):
        one(conn, "SELECT customers FROM rescore._fold_step('customers', 2)")
    position = "SELECT position FROM rescore.queue WHERE key IS NULL"
    assert one(conn, position) == ":6"
    pause(conn, "customers")
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (0, 1000)")  # behind the position
    resume(conn, "customers")
    fold(conn, "customers", batch=3)
    assert differences(conn) == []
    assert one(conn, "SELECT biggest FROM customers WHERE customer_id = 0") == 1000


def test_paused_means_by_nobody(conn: Connection, plain_dsn: str) -> None:
    pause(conn, "customers", "why not")
    for statement in ("CALL rescore.fold('customers')", "CALL rescore.sweep('customers')"):
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(statement.encode())
        assert caught.value.sqlstate == "RS027"
        assert "why not" in (caught.value.diag.message_detail or "")
    with pytest.raises(Paused, match="is paused"):
        pause(conn, "customers")
    conn.execute("INSERT INTO rescore.queue (profile, key) VALUES ('customers', '1')")
    assert folding(plain_dsn, "1s", ()).work(conn, threading.Event()) == {}
    with pytest.raises(UnknownProfile, match="custmers"):
        pause(conn, "custmers")


def test_a_definition_applied_while_paused_stays_paused(conn: Connection) -> None:
    text = one(conn, "SELECT definition ->> 'events' ~ 'queued' FROM rescore.profiles")
    definition = DEFINITION.replace(" MODE", ", mode: queued" if text else "")
    pause(conn, "customers")
    assert define(conn, definition).empty
    more = definition.replace("models:", "  spend: {from: orders, sum: amount}\nmodels:", 1)
    define(conn, more)
    live_on(conn)
    assert differences(conn) != []
    resume(conn, "customers")
    fold(conn, "customers")
    assert differences(conn) == []


def test_writers_are_held_up_no_longer_than_the_timeout(conn: Connection, plain_dsn: str) -> None:
    """A long transaction keeps the pause waiting; others write in between, each at once or nearly."""
    waits: list[float] = []
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(plain_dsn, autocommit=True) as mine:
            while not stop.is_set():
                began = time.monotonic()
                mine.execute("INSERT INTO orders (customer_id, amount) VALUES (8, 1)")
                waits.append(time.monotonic() - began)
                time.sleep(0.01)

    with psycopg.connect(plain_dsn) as long, ThreadPoolExecutor(1) as pool:
        long.execute("INSERT INTO orders (customer_id, amount) VALUES (7, 1)")
        writing = pool.submit(write)
        with pytest.raises(Busy, match="stayed locked"):
            pause(conn, "customers", lock_timeout=0.1, attempts=4)
        stop.set()
        writing.result()
    assert len(waits) > 10
    assert max(waits) < 2
    assert pause(conn, "customers") > 0
    resume(conn, "customers")
    fold(conn, "customers")
    assert differences(conn) == []


@pytest.mark.parametrize("conn", [""], indirect=True, ids=["live"])
def test_commands(conn: Connection, plain_dsn: str) -> None:
    def told(*arguments: str) -> Any:
        ran = CliRunner().invoke(cli.app, [*arguments, "--dsn", plain_dsn, "--json"])
        assert ran.exit_code == 0, ran.output
        return json.loads(ran.stdout)

    assert told("pause", "customers", "--reason", "no reason")["triggers disabled"] > 8
    live_on(conn)
    assert told("resume", "customers")["customers"] >= 9
    assert told("fold", "customers")["rows"] == 0
    assert differences(conn) == []
