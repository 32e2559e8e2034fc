"""A person who is forgotten is nowhere, and nothing brings them back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from rescore.compiler.apply import apply
from rescore.compiler.definition import parse
from rescore.errors import BadKey, UnknownProfile
from rescore.tests.support import define, one, publish
from rescore.trainer import operations as ops

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE orders (customer_id bigint, ordered_at timestamptz DEFAULT now(), amount numeric(10,2));
CREATE INDEX ON orders (customer_id);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
models: {churn: {features: all}}
scores: {churn_score: {model: churn, outbox: {moved_by: 0.000001}}}
"""
# What else rescore may have kept of them.
LOGGED = """
WITH s AS (
    INSERT INTO rescore.snapshots (model, key, taken_at, version, design, due_at)
    VALUES ('churn', %(key)s, now(), 1, '{1}', now()), ('churn', '1', now(), 1, '{1}', now())
), r AS (
    INSERT INTO rescore.snapshot_rounds (profile, position, finished_at) VALUES ('customers', %(key)s, now())
)
INSERT INTO rescore.sweeps (profile, terms, size, position, locked) VALUES ('customers', '{}', 1, %(key)s, ARRAY[%(key)s, '1'])
"""
# A number that is nowhere by chance.
PERSON = 9_007_199_254_740_993


@contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def conn(any_dsn: str) -> Iterator[Connection]:
    with connected(any_dsn) as made:
        made.execute(SHOP.encode())
        define(made, DEFINITION)
        publish(made)
        for key in (1, 2, PERSON):
            order(made, key, 5)
            order(made, key, 7)
        made.execute(LOGGED.encode(), {"key": str(PERSON)})
        yield made


def order(conn: Connection, key: int, amount: float = 1) -> None:
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (%s, %s)", [key, amount])


def everywhere(conn: Connection) -> list[str]:
    """Tables, other than the application's events, in which the person's key stands in some row."""
    tables = conn.execute(
        b"SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        b" WHERE n.nspname IN ('rescore', 'public') AND c.relkind IN ('r', 'p') AND c.relname <> 'orders'"
    ).fetchall()
    query = "SELECT count(*) FROM {} AS x WHERE x::text LIKE '%%' || %s || '%%'"
    return [t for (t,) in tables if one(conn, query.format(t), str(PERSON))]


def right(conn: Connection) -> bool:
    return not conn.execute(b"SELECT * FROM rescore.verify('customers')").fetchall()


def test_a_person_is_removed_from_everywhere_and_what_was_removed_is_said(conn: Connection) -> None:
    assert set(everywhere(conn)) >= {
        "customers",
        "rescore.outbox",
        "rescore.snapshots",
        "rescore.sweeps",
    }
    conn.execute(
        "INSERT INTO rescore.runner_jobs (job, error, times) VALUES ('sweep', %s, 1)",
        [f"customers: customer {PERSON} may not be changed"],
    )
    said = {
        r["place"]: (r["removed"], r["remaining"])
        for r in ops.forget(conn, "customers", str(PERSON))
    }
    assert everywhere(conn) == []
    assert said["rescore.runner_jobs"] == (1, 0)
    assert said["public.customers"] == (1, 0)
    assert said["public.orders, the application's own"] == (0, 2)
    assert said["rescore.outbox"][0] >= 2
    assert said["rescore.snapshots"] == (1, 0)
    assert said["positions of sweeps, backfills and rounds"] == (2, 0)
    assert one(conn, "SELECT count(*) FROM rescore.snapshots") == 1
    assert one(conn, "SELECT count(*) FROM customers") == 2
    assert right(conn)


def test_neither_rebuild_nor_late_events_nor_apply_bring_them_back(conn: Connection) -> None:
    ops.forget(conn, "customers", str(PERSON))
    order(conn, PERSON)
    conn.execute(
        "INSERT INTO orders (customer_id, amount) VALUES (%s, 1), (2, 1), (3, 1)", [PERSON]
    )
    conn.execute("UPDATE orders SET amount = 9 WHERE customer_id IN (%s, 1)", [PERSON])
    conn.execute("UPDATE orders SET customer_id = %s WHERE customer_id = 1", [PERSON])
    ops.rebuild(conn, "customers")
    apply(
        conn, parse(DEFINITION.replace("  spend:", "  most: {from: orders, max: amount}\n  spend:"))
    )
    conn.execute("DELETE FROM customers WHERE customer_id = 2")
    conn.execute(b"TRUNCATE customers")
    order(conn, PERSON)
    conn.execute("CALL rescore.sweep('customers')")
    assert everywhere(conn) == []
    assert right(conn)
    assert one(conn, "SELECT count(*) FROM orders WHERE customer_id = %s", PERSON) == 7


def test_their_row_cannot_be_inserted_and_the_error_does_not_name_them(conn: Connection) -> None:
    ops.forget(conn, "customers", str(PERSON))
    for statement in (
        "INSERT INTO customers (customer_id) VALUES (%s)",
        "UPDATE customers SET customer_id = %s WHERE customer_id = 1",
    ):
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(statement.encode(), [PERSON])
        assert caught.value.sqlstate == "RS026"
        assert str(PERSON) not in str(caught.value)
    conn.execute("INSERT INTO customers (customer_id) VALUES (4)")


def test_a_tombstone_tells_nobody_who_it_was(conn: Connection) -> None:
    ops.forget(conn, "customers", str(PERSON))
    digest = one(conn, "SELECT digest FROM rescore.tombstones")
    assert len(digest) == 32
    unkeyed = "SELECT sha256(convert_to(%s::text, 'UTF8')) = %s"
    assert not one(conn, unkeyed, str(PERSON), digest)
    secret = one(conn, "SELECT inner_key || outer_key FROM rescore.tombstone_secret")
    assert len(secret) == 128 and len(set(secret)) > 30
    # The same person, however the key is written.
    ops.forget(conn, "customers", f" +{PERSON}")
    assert one(conn, "SELECT count(*) FROM rescore.tombstones") == 1


def test_one_who_comes_back_counts_whole_from_the_next_event_on(conn: Connection) -> None:
    ops.forget(conn, "customers", str(PERSON))
    assert ops.remember(conn, "customers", str(PERSON))
    assert not ops.remember(conn, "customers", str(PERSON))
    order(conn, PERSON)
    assert one(conn, "SELECT orders FROM customers WHERE customer_id = %s", PERSON) == 3
    assert right(conn)


def test_who_asks_for_nobody_is_told_so(conn: Connection) -> None:
    with pytest.raises(BadKey):
        ops.forget(conn, "customers", "nobody")
    with pytest.raises(UnknownProfile):
        ops.forget(conn, "customer", "1")
    assert one(conn, "SELECT count(*) FROM rescore.tombstones") == 0


def test_an_event_that_is_being_written_while_its_person_is_forgotten(
    any_dsn: str, conn: Connection
) -> None:
    """Their first event waits in a transaction: whichever commits first, they are gone afterwards."""
    with connected(any_dsn) as writer:
        writer.execute(b"BEGIN")
        order(writer, 77)
        with connected(any_dsn) as other:
            forgetting = threading.Thread(target=ops.forget, args=(other, "customers", "77"))
            forgetting.start()
            forgetting.join(0.5)
            assert forgetting.is_alive()
            writer.execute(b"COMMIT")
            forgetting.join(10)
    assert one(conn, "SELECT count(*) FROM customers WHERE customer_id = 77") == 0
    with connected(any_dsn) as other:
        other.execute(b"BEGIN")
        ops.forget(other, "customers", "88")
        with connected(any_dsn) as writer:
            writing = threading.Thread(target=order, args=(writer, 88))
            writing.start()
            writing.join(0.5)
            assert writing.is_alive()
            other.execute(b"COMMIT")
            writing.join(10)
    assert one(conn, "SELECT count(*) FROM customers WHERE customer_id = 88") == 0
    assert one(conn, "SELECT count(*) FROM orders WHERE customer_id IN (77, 88)") == 2
    assert right(conn)


def test_incidents_hold_no_values_unless_asked(conn: Connection) -> None:
    record = "SELECT rescore._incident('customers', NULL, NULL, %s, %s, %s)"
    context = 'insert on orders\nJSON data, line 1: {"name": "Ada"}\nPL/pgSQL function f() line 3 at SQL statement'
    conn.execute(record.encode(), ["22P02", "invalid input \"Ada\" at 36, not 'Bob'", context])
    found = one(conn, "SELECT message, context FROM rescore.incident_log")
    assert found == (
        "invalid input ... at ..., not ...",
        "insert on orders\nPL/pgSQL function f() line 3 at SQL statement",
    )
    conn.execute("SET rescore.incident_values = on")
    conn.execute(record.encode(), ["22003", "36 is too much", "elsewhere"])
    assert (
        one(conn, "SELECT message FROM rescore.incident_log WHERE sqlstate = '22003'")
        == "36 is too much"
    )
    conn.execute("RESET rescore.incident_values")
    conn.execute(record.encode(), ["42703", 'column "age" does not exist', "there"])
    assert (
        one(conn, "SELECT message FROM rescore.incident_log WHERE sqlstate = '42703'")
        == 'column "age" does not exist'
    )


def test_tables_of_labels_and_treatments_are_counted(conn: Connection) -> None:
    conn.execute(b"CREATE TABLE gone (customer_id bigint, at timestamptz)")
    conn.execute(b"CREATE TABLE offers (who bigint, sent_at timestamptz)")
    labels = "labels: {left: {table: gone, at: at, within: 30 days}, idle: {none: orders, within: 9 days}}"
    offers = "interventions: {table: offers, time: sent_at, key: who, holdout: 5%}"
    text = DEFINITION.replace("{features: all}", "{features: all, label: left}")
    define(conn, f"{text}{labels}\n{offers}\n")
    conn.execute("INSERT INTO gone VALUES (%s, now())", [PERSON])
    conn.execute("INSERT INTO offers VALUES (%s, now()), (%s, now()), (1, now())", [PERSON, PERSON])
    own = ", the application's own"

    def remaining() -> dict[str, int | None]:
        said = ops.forget(conn, "customers", str(PERSON))
        return {r["place"]: r["remaining"] for r in said if r["place"].endswith(own)}

    assert remaining() == {
        f"public.orders{own}": 2,
        f"public.gone{own}": 1,
        f"public.offers{own}": 2,
    }
    conn.execute(b"DROP TABLE gone")
    assert remaining()[f"public.gone{own}"] is None
