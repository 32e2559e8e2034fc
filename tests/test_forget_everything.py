"""Who is forgotten was everywhere: in queue, snapshots, quarantine, reports, tests of versions, incidents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rescore.tests.support import define, one, publish
from rescore.trainer import operations as ops
from rescore.trainer.loop.drift import watch
from rescore.trainer.loop.learn import learn

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE customers (customer_id bigint PRIMARY KEY, spend float8 NOT NULL);
CREATE TABLE orders (customer_id bigint, at timestamptz);
CREATE INDEX ON orders (customer_id);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}, clock: session}
events: {orders: {time: at, mode: queued}}
features: {orders: {from: orders, count: true}, spend: {column: spend}}
labels: {churned: {none: orders, within: 30 days}}
snapshot: {every: 1 day}
models: {churn: {label: churned, learn: {batch: 10, examples: 20}}}
scores: {churn_score: {model: churn, bands: {low: 0.3, high: 0.7}, outbox: {moved_by: 0}}}
"""
# Neither the key nor the value is anywhere by chance.
PERSON, SPEND = 9_007_199_254_740_993, 918273.6451
TRACES = (str(PERSON), "918273")


def at(conn: Connection, moment: str) -> None:
    conn.execute("SELECT set_config('rescore.clock', %s, false)", [moment])


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(plain_dsn, autocommit=True) as made:
        at(made, "2026-01-01Z")
        made.execute(SHOP.encode())
        define(made, DEFINITION)
        publish(made)
        made.execute("INSERT INTO customers SELECT i, i FROM generate_series(1, 60) AS i")
        made.execute("INSERT INTO customers VALUES (%s, %s)", [PERSON, SPEND])
        live(made)
        yield made


def live(conn: Connection) -> None:
    conn.execute("SELECT rescore.outbox_register('crm')")
    for seed in (5, 6):
        publish(conn, seed=seed)
    conn.execute("SELECT rescore.challenge('churn', 1, 0.5), rescore.shadow('churn', 2)")
    conn.execute("INSERT INTO orders SELECT customer_id, '2025-12-31Z' FROM customers")
    ops.fold(conn, "customers", 100)
    conn.execute("SELECT rescore.snapshot('customers')")
    conn.execute("INSERT INTO orders SELECT i, '2026-01-09Z' FROM generate_series(1, 30) AS i")
    at(conn, "2026-02-09Z")
    conn.execute("SELECT rescore.resolve('customers')")
    conn.execute(
        """SELECT rescore.quarantine('churn', array_agg(id), 'not a person') FROM rescore.snapshots
           WHERE key = %s""",
        [str(PERSON)],
    )
    assert learn(conn, "churn").rounds[0].examples > 0
    watch(conn, "churn")
    ops.sweep(conn, "customers", None)
    conn.execute("UPDATE customers SET spend = spend + 1e-9")
    conn.execute("INSERT INTO orders VALUES (%s, '2026-02-08Z'), (1, '2026-02-08Z')", [PERSON])
    conn.execute("SET rescore.incident_values = on")
    context = f'insert on orders\nCOPY orders, line 3, column customer_id: "{PERSON}"'
    record = "SELECT rescore._incident('customers', NULL, NULL, '22003', 'out of range', %s)"
    conn.execute(record, [context])


def traces(conn: Connection) -> set[str]:
    """Tables, other than the application's events, with the key or the value in some row."""
    found = conn.execute(
        """SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
           WHERE n.nspname IN ('rescore', 'public') AND c.relkind = 'r' AND c.relname <> 'orders'"""
    ).fetchall()
    query = "SELECT EXISTS (SELECT FROM {} AS x WHERE x::text LIKE ANY (%s))"
    wanted = [f"%{trace}%" for trace in TRACES]
    return {t for (t,) in found if one(conn, query.format(t), wanted)}


def test_nothing_is_left_and_nothing_comes_back(conn: Connection) -> None:
    assert traces(conn) == {
        "customers", "rescore.outbox", "rescore.queue", "rescore.snapshots_2026_01",
        "rescore.incident_log", "rescore.sweeps", "rescore.snapshot_rounds",
    }  # fmt: skip
    told = {row["place"]: row["removed"] for row in ops.forget(conn, "customers", str(PERSON))}
    assert traces(conn) == set()
    assert (told["rescore.queue"], told["rescore.snapshots"], told["rescore.incident_log"]) == (
        1, 1, 1,
    )  # fmt: skip
    conn.execute("INSERT INTO orders VALUES (%s, '2026-02-08Z'), (2, '2026-02-08Z')", [PERSON])
    assert traces(conn) == {"rescore.queue"}  # until it is folded
    ops.fold(conn, "customers", 100)
    ops.rebuild(conn, "customers")
    ops.log(conn, "customers", None)
    learn(conn, "churn")
    watch(conn, "churn")
    ops.sweep(conn, "customers", None)
    assert traces(conn) == set()
    assert conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []
    assert one(conn, "SELECT count(*) FROM rescore.snapshots WHERE taken_at > '2026-02-01Z'") == 60
