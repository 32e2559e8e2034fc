"""What fails in a score costs no event: stored, counted, marked stale, recorded once, repaired."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sklearn.naive_bayes import GaussianNB

from rescore.tests.support import contract_of, define, linear_pipeline, one, open_profile, publish
from rescore.trainer import operations as ops
from rescore.trainer.publish import publish as publish_estimator

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint,
    at timestamptz DEFAULT now(), amount double precision, n bigint, day date);
CREATE INDEX ON orders (customer_id);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint} ERROR}
events: {orders: {time: at MODE}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
  mean: {from: orders, avg: amount}
  biggest: {from: orders, max: amount}
  latest: {from: orders, last: amount}
  total: {from: orders, sum: n}
  most: {from: orders, max: n}
  since: {from: orders, days_since: last}
  every: {from: orders, gap: avg}
  rate: {from: orders, sum: amount, half_life: 30 days}
  share: {ratio: [spend, total]}
models: {churn: {features: all}}
scores: {churn_score: {model: churn}}
"""


def definition(mode: str = "", error: str = "") -> str:
    return DEFINITION.replace(" MODE", mode).replace(" ERROR", error)


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with open_profile(dsn, SHOP, definition(), serving=False) as made:
        yield made


def publish_bayes(conn: Connection) -> int:
    """Publish a model that only Python can score."""
    columns = len(contract_of(conn).columns())
    pipeline = linear_pipeline(columns)
    rows = pipeline[0].inverse_transform(
        [[1.0] * columns, [-1.0] * columns, [0.5] * columns, [-2.0] * columns]
    )
    return publish_estimator(GaussianNB().fit(rows, [1, 0, 1, 0]), model="churn", conn=conn)


def order(conn: Connection, *keys: int) -> None:
    conn.execute(
        "INSERT INTO orders (customer_id, amount, n) SELECT k, 5, 1 FROM unnest(%s::bigint[]) AS k",
        [list(keys)],
    )


def right(conn: Connection) -> bool:
    return conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []


def stale(conn: Connection) -> int:
    return int(one(conn, "SELECT count(*) FROM customers WHERE churn_score_at IS NULL"))


BROKEN = {
    "no version function": "ALTER FUNCTION rescore_compiled.churn_version() RENAME TO gone",
    "no router": "ALTER FUNCTION rescore_compiled.churn RENAME TO gone",
    "a version that raises": """DO $$ BEGIN EXECUTE (
        SELECT format('CREATE OR REPLACE FUNCTION %s RETURNS double precision LANGUAGE plpgsql IMMUTABLE AS %L', regexp_replace(pg_get_functiondef(p.oid),
            '^CREATE OR REPLACE FUNCTION (.*?\\))\\s+RETURNS.*$', '\\1', 's'), 'BEGIN RAISE EXCEPTION ''broken''; END')
        FROM pg_proc AS p WHERE p.oid = 'rescore_compiled.churn'::regproc); END $$""",
    "out of memory": """DO $$ BEGIN EXECUTE (
        SELECT format('CREATE OR REPLACE FUNCTION %s RETURNS double precision LANGUAGE plpgsql IMMUTABLE AS %L', regexp_replace(pg_get_functiondef(p.oid),
            '^CREATE OR REPLACE FUNCTION (.*?\\))\\s+RETURNS.*$', '\\1', 's'), 'BEGIN RAISE out_of_memory; END')
        FROM pg_proc AS p WHERE p.oid = 'rescore_compiled.churn'::regproc); END $$""",
}
BROKEN["an error of its own"] = BROKEN["a version that raises"].replace(
    "RAISE EXCEPTION ''broken''", "RAISE SQLSTATE ''RS002''"
)
MENDED = {
    "no version function": "ALTER FUNCTION rescore_compiled.gone() RENAME TO churn_version",
    "no router": "ALTER FUNCTION rescore_compiled.gone RENAME TO churn",
}


@pytest.mark.parametrize("what", list(BROKEN))
def test_a_broken_model_keeps_events_and_is_repaired(conn: Connection, what: str) -> None:
    publish(conn)
    order(conn, 1, 2, 3)
    conn.execute(BROKEN[what].encode())
    for _ in range(3):
        order(conn, 1)
        order(conn, 1, 2)
        conn.execute("UPDATE orders SET amount = 6 WHERE id = 1")
        conn.execute("UPDATE orders SET amount = 5 WHERE id = 1")
    assert one(conn, "SELECT orders, spend FROM customers WHERE customer_id = 1") == (7, 35)
    assert stale(conn) == 2
    assert one(conn, "SELECT count(*), count(DISTINCT sqlstate) FROM rescore.incidents") == (2, 1)
    assert one(conn, "SELECT status FROM rescore.health WHERE \"check\" = 'incidents'") == "warning"
    if what in MENDED:
        conn.execute(MENDED[what].encode())
    else:
        publish(conn, seed=3)
    ops.sweep(conn, "customers")
    assert stale(conn) == 0
    assert right(conn)
    assert one(conn, "SELECT status FROM rescore.health WHERE \"check\" = 'incidents'") == "ok"


def test_many_failures_of_one_cause_are_one_incident_and_wait_for_nobody(
    conn: Connection, dsn: str
) -> None:
    publish(conn)
    conn.execute(BROKEN["a version that raises"].encode())
    with psycopg.connect(dsn) as slow, psycopg.connect(dsn, autocommit=True) as quick:
        order(slow, 1)  # its transaction stays open, and rolls back
        quick.execute("SET statement_timeout = '5s'")
        for key in range(2, 12):
            order(quick, key)
        slow.rollback()
    assert (one(conn, "SELECT count(*) FROM customers"), stale(conn)) == (10, 10)
    health = "SELECT status FROM rescore.health WHERE \"check\" = 'stale'"
    assert one(conn, health) == "warning"
    for key in range(2, 12):
        order(conn, key, key + 20)
    # One of one row, one of several: each place once.
    assert one(conn, "SELECT count(*), count(DISTINCT message) FROM rescore.incidents") == (2, 1)


def test_a_model_that_python_cannot_score(conn: Connection) -> None:
    publish_bayes(conn)
    order(conn, 1, 2)
    conn.execute("ALTER TABLE rescore.models DISABLE TRIGGER USER")
    artifact = one(conn, "SELECT artifact FROM rescore.models")
    with psycopg.connect(conn.info.dsn, autocommit=True) as other:  # nothing is cached there
        other.execute("UPDATE rescore.models SET artifact = 'no model'")
        order(other, 1)
        order(other, 1, 3)
        assert one(other, "SELECT orders FROM customers WHERE customer_id = 1") == 3
        assert stale(other) == 2
        assert one(other, "SELECT count(*) FROM rescore.incidents") >= 1
        other.execute("UPDATE rescore.models SET artifact = %s", [artifact])
        ops.sweep(other, "customers")
        assert stale(other) == 0
        assert right(other)


def test_a_missing_version(conn: Connection) -> None:
    version = publish_bayes(conn)
    conn.execute("ALTER TABLE rescore.models DISABLE TRIGGER USER")
    conn.execute("CREATE TABLE kept AS SELECT * FROM rescore.models")
    with psycopg.connect(conn.info.dsn, autocommit=True) as other:
        other.execute("SET session_replication_role = replica")  # past foreign keys too
        other.execute("DELETE FROM rescore.models")
        other.execute("RESET session_replication_role")
        order(other, 4, 5)
        assert one(other, "SELECT sum(orders) FROM customers") == 2
        assert stale(other) == 2
        other.execute("INSERT INTO rescore.models SELECT * FROM kept")
        ops.sweep(other, "customers")
        assert one(other, "SELECT min(churn_score_version) FROM customers") == version


@pytest.mark.parametrize("mode", ["", ", mode: queued"], ids=["live", "queued"])
def test_raise_refuses_the_event_where_it_is_counted(conn: Connection, mode: str) -> None:
    define(conn, definition(mode, ", on_error: raise"))
    publish(conn)
    order(conn, 1)
    conn.execute("CALL rescore.fold('customers')")
    conn.execute(BROKEN["no version function"].encode())
    if mode:
        order(conn, 1)
        with pytest.raises(psycopg.errors.UndefinedFunction):
            conn.execute("CALL rescore.fold('customers')")
    else:
        with pytest.raises(psycopg.errors.UndefinedFunction):
            order(conn, 1)
    assert one(conn, "SELECT orders FROM customers") == 1
    conn.execute(MENDED["no version function"].encode())
    order(conn, 1)
    conn.execute("CALL rescore.fold('customers')")
    assert right(conn)
    assert one(conn, "SELECT count(*) FROM rescore.incident_log") == 0


NUMBERS = [
    "1e308",
    "-1e308",
    "'inf'",
    "'-inf'",
    "'nan'",
    "NULL",
    "5e-324",
    "-5e-324",
    "1e-308",
    "9007199254740993",
    "1e100",
    "0",
    "-0.0",
]
WHOLE = ["9223372036854775807", "-9223372036854775808", "9007199254740993", "NULL", "0"]
TIMES = [
    "'infinity'",
    "'-infinity'",
    "'4713-01-01 00:00:00+00 BC'",
    "'294276-12-31 23:59:59+00'",
    "'1970-01-01Z'",
    "NULL",
    "now()",
]


@pytest.mark.parametrize("mode", ["", ", mode: queued"], ids=["live", "queued"])
def test_extreme_numbers_and_times(conn: Connection, mode: str) -> None:
    define(conn, definition(mode))
    publish(conn)
    rows = [
        f"({1 + i % 3}, now(), {x}, {y})"
        for i, x in enumerate(NUMBERS)
        for y in (WHOLE[i % 5], WHOLE[(i + 1) % 5])
    ]
    rows += [f"({4 + i % 2}, {t}, 1, 1)" for i, t in enumerate(TIMES)]
    for row in rows:
        conn.execute(f"INSERT INTO orders (customer_id, at, amount, n) VALUES {row}".encode())
    conn.execute(
        f"INSERT INTO orders (customer_id, at, amount, n) VALUES {', '.join(rows)}".encode()
    )
    conn.execute("CALL rescore.fold('customers')")
    assert one(conn, "SELECT count(*) FROM rescore.incident_log") == 0
    scores = conn.execute("SELECT churn_score FROM customers").fetchall()
    assert len(scores) == 5
    assert all(0 <= score <= 1 for (score,) in scores)
    assert right(conn)
    conn.execute("UPDATE orders SET amount = 1 WHERE id % 3 = 0")
    conn.execute("DELETE FROM orders WHERE id % 2 = 0")
    conn.execute("CALL rescore.fold('customers')")
    assert right(conn)
    assert one(conn, "SELECT count(*) FROM rescore.incident_log") == 0
