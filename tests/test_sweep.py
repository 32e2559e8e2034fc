"""Sweeps: which rows they write."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sklearn.tree import DecisionTreeRegressor

from rescore.plpython.artifact import dump
from rescore.tests.support import define, one, publish
from rescore.tests.sweep_shop import (
    CALL,
    DEFINITION,
    WITHOUT_TIME,
    Connection,
    at,
    connected,
    rows,
    shop,
    state,
    wrong,
)


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        yield made


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


@pytest.mark.parametrize(
    "feature",
    [
        "{from: orders, sum: amount, half_life: 30 days}",
        "{expr: 'greatest(days_since_order - 40, 0)'}",
    ],
)
def test_inputs_that_fade_or_are_computed_move_too(conn: Connection, feature: str) -> None:
    definition = DEFINITION.replace("models:", f"  other: {feature}\nmodels:", 1)
    shop(conn, definition.replace("churn: {features: all}", "churn: {features: [orders, other]}"))
    conn.execute("INSERT INTO customers (customer_id) VALUES (1000)")
    before = rows(conn)
    at(conn, "2026-02-01")
    assert wrong(conn) > 200
    conn.execute(CALL)
    assert (wrong(conn), state(conn, "changed") > 200) == (0, True)
    # Somebody without an order has nothing that could move.
    assert rows(conn)[1000] == before[1000]
    before = rows(conn)
    conn.execute(CALL)
    assert rows(conn) == before


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


def test_what_no_sweep_takes_is_refused(conn: Connection) -> None:
    shop(conn, customers=1)
    wrong_arguments = [
        "batch => 0", "rate => 0", "rate => 'NaN'", "tolerance => -1", "tolerance => 'NaN'",
        "max_age => '-1 day'",
    ]  # fmt: skip
    for given in wrong_arguments:
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(f"CALL rescore.sweep('customers', {given})".encode())
        assert (caught.value.sqlstate, given.split()[0] in str(caught.value)) == ("RS020", True)


def test_a_profile_without_scores_has_nothing_to_sweep(conn: Connection) -> None:
    define(conn, DEFINITION[: DEFINITION.index("models:")])
    conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 1)")
    before = rows(conn)
    conn.execute(CALL)
    assert rows(conn) == before


def test_a_customer_who_cannot_be_counted_is_passed_and_told(conn: Connection) -> None:
    dear = '  dear: {from: orders, count: true, where: "100 / amount < 9", window: 7 days}\nmodels:'
    at(conn, "2026-01-01")
    define(conn, DEFINITION.replace("models:", dear))
    publish(conn)
    conn.execute(
        "INSERT INTO orders (customer_id, ordered_at, amount)"
        " SELECT i, rescore.clock() - interval '1 hour', 50 FROM generate_series(1, 1500) AS i"
    )
    conn.execute(
        "INSERT INTO orders (customer_id, ordered_at, amount)  SELECT 700, rescore.clock(), 0"
    )
    conn.execute("DELETE FROM rescore.incident_log")
    at(conn, "2026-01-15")
    for _ in range(2):
        conn.execute(CALL)
        assert one(conn, "SELECT array_agg(customer_id) FROM customers WHERE dear > 0") == [700]
        assert wrong(conn) == 1
        assert one(conn, "SELECT message FROM rescore.incidents") == "division by zero"
        assert state(conn, "looked", "finished_at IS NOT NULL") == (1500, True)
    conn.execute("DELETE FROM orders WHERE amount = 0")
    conn.execute(CALL)
    assert one(conn, "SELECT sum(dear) FROM customers") == 0
    assert wrong(conn) == 0
