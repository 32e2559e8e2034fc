"""Snapshots: what is logged, and when."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Any

import numpy as np
import psycopg
import pytest

from rescore.errors import NotSupported, UnknownProfile
from rescore.plpython.artifact import load
from rescore.tests.snapshot_shop import (
    DEFINITION,
    Connection,
    at,
    connected,
    order,
    shop,
    snapshot,
)
from rescore.tests.support import define, one, publish
from rescore.trainer import operations as ops
from rescore.trainer.learning.hashing import hash_keys, shares
from rescore.trainer.snapshots import Snapshotting, log

ON_EVENTS = DEFINITION.replace("{every: 1 day}", "{on: orders, share: 30%}")
COUNT = "SELECT count(*) FROM rescore.snapshots"


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        yield made


@pytest.fixture
def full(dsn: str) -> Iterator[Connection]:
    """Installed by a superuser, with PL/Python."""
    with connected(dsn) as made:
        yield made


def logged(conn: Connection, *columns: str) -> list[Any]:
    query = f"SELECT {', '.join(columns)} FROM rescore.snapshots ORDER BY model, taken_at, key::int"
    return conn.execute(query.encode()).fetchall()


def test_a_round_logs_every_customer_as_scored(conn: Connection) -> None:
    shop(conn)
    assert snapshot(conn) == 80
    wrong = """SELECT count(*) FROM rescore.snapshots AS s JOIN customers AS c ON c.customer_id::text = s.key
        WHERE s.model = 'churn' AND s.score = rescore.predict('churn', c) AND s.version = c.churn_score_version
          AND s.taken_at = timestamptz '2026-01-01Z' AND s.due_at = timestamptz '2026-01-31Z'
          AND s.design[2] = c.spend AND s.holdout = c.holdout AND s.serving = 'champion' AND s.resolved IS NULL"""
    assert one(conn, wrong) == 20


def test_the_design_row_gives_the_score_by_the_version_that_is_named(conn: Connection) -> None:
    shop(conn, models=("churn",))
    snapshot(conn)
    publish(conn, seed=11)
    for score, design, version in logged(conn, "score", "design", "version"):
        artefact = one(conn, "SELECT artifact FROM rescore.models WHERE version = %s", version)
        assert load(artefact, "joblib").predict_proba(np.array([design]))[0, 1] == pytest.approx(
            score, abs=1e-9
        )


def test_a_round_is_taken_once_and_the_next_when_it_is_due(conn: Connection) -> None:
    shop(conn, models=("churn",))
    assert [snapshot(conn), snapshot(conn)] == [20, 0]
    at(conn, "2026-01-01 23:59:00+00")
    assert snapshot(conn) == 0
    at(conn, "2026-01-02 06:00:00+00")
    assert snapshot(conn) == 20
    at(conn, "2026-01-03")  # due by the schedule, though a late round was only 18 hours ago
    assert snapshot(conn) == 20
    assert one(conn, COUNT) == 60


def test_a_round_cut_short_goes_on_where_it_stopped(conn: Connection) -> None:
    shop(conn, models=("churn",))
    stop = Event()
    cut = log(conn, "customers", batch=8, stop=stop, progress=lambda *_: stop.set())
    assert (cut.taken, cut.finished) == (8, False)
    at(conn, "2026-01-01 00:05:00+00")
    assert log(conn, "customers", batch=8).taken == 20
    assert one(conn, "SELECT count(DISTINCT key) FROM rescore.snapshots") == 20
    assert one(conn, COUNT) == 20


def test_two_sessions_share_a_round(conn: Connection, plain_dsn: str) -> None:
    shop(conn, models=("churn",))
    with psycopg.connect(plain_dsn, autocommit=True) as other:
        at(other, "2026-01-01")
        assert one(conn, "SELECT rescore._snapshot_begin('customers')")
        assert one(other, "SELECT rescore._snapshot_begin('customers')")
        step = "SELECT finished, taken FROM rescore._snapshot_step('customers', 12)"
        assert one(conn, step) == (False, 12)
        assert one(other, step) == (True, 20)
        assert one(conn, step) == (True, 20)
    assert one(conn, COUNT) == 20


def test_what_windows_no_longer_hold_is_recounted_first(conn: Connection) -> None:
    shop(conn, models=("churn",))
    at(conn, "2026-03-01")  # the orders of December have left the window
    snapshot(conn)
    assert {design[2] for (design,) in logged(conn, "design")} == {0}
    assert one(conn, "SELECT max(recent) FROM customers") == 0


def test_only_those_who_are_scored_are_logged(conn: Connection) -> None:
    conn.execute("CREATE TABLE customers (customer_id bigint PRIMARY KEY, status text)")
    conn.execute("INSERT INTO customers SELECT i, 'active' FROM generate_series(1, 7) AS i")
    only = DEFINITION.replace("clock: session}", "clock: session, only: \"status = 'active'\"}")
    shop(conn, only, models=("churn",))
    snapshot(conn)
    assert [key for (key,) in logged(conn, "key")] == [str(i) for i in range(1, 8)]


def test_a_share_of_the_customers_another_one_each_round(conn: Connection) -> None:
    shop(
        conn, DEFINITION.replace("every: 1 day", "every: 1 day, share: 20%"), 400, models=("churn",)
    )
    taken = []
    for day in (1, 2):
        at(conn, f"2026-01-0{day}")
        taken.append(snapshot(conn))
    assert all(50 <= n <= 110 for n in taken)
    chosen = [
        {k for (k, t) in logged(conn, "key", "extract(day FROM taken_at)::int") if t == day}
        for day in (1, 2)
    ]
    assert len(chosen[0] & chosen[1]) < 40


def test_a_share_of_the_events_in_their_own_transaction(conn: Connection) -> None:
    shop(conn, ON_EVENTS, 0, models=("churn",))
    with conn.transaction(force_rollback=True):
        for customer in range(30):
            order(conn, customer, "2026-01-01")
        assert one(conn, COUNT) > 0
    assert one(conn, COUNT) == 0
    for customer in range(300):
        order(conn, customer, "2026-01-01")
    conn.execute(
        "INSERT INTO orders (customer_id, ordered_at) SELECT i, '2026-01-01Z' FROM generate_series(300, 599) AS i"
    )
    for part in ("key::int < 300", "key::int >= 300"):
        assert 60 <= one(conn, f"{COUNT} WHERE {part}") <= 120
    wrong = """SELECT count(*) FROM rescore.snapshots AS s JOIN customers AS c ON c.customer_id::text = s.key
               WHERE s.score IS DISTINCT FROM c.churn_score OR s.taken_at <> c.churn_score_at"""
    assert one(conn, wrong) == 0


def test_a_snapshot_that_fails_fails_neither_event_nor_score(conn: Connection) -> None:
    shop(conn, ON_EVENTS.replace("30%", "100%"), 0, models=("churn",))
    conn.execute("ALTER TABLE rescore.snapshots ADD CHECK (key <> '3')")
    order(conn, 3, "2026-01-01")
    row = "SELECT orders, churn_score IS NOT NULL, churn_score_at IS NOT NULL FROM customers"
    assert one(conn, row) == (1, True, True)
    assert one(conn, "SELECT sqlstate FROM rescore.incidents") == "23514"
    order(conn, 4, "2026-01-01")
    assert one(conn, COUNT) == 1


def test_a_model_that_python_scores_is_logged_alike(full: Connection) -> None:
    text = DEFINITION.replace("churn: {label: churned}", "churn: {label: churned, engine: python}")
    shop(full, text, models=("churn",))
    snapshot(full)
    right = """SELECT count(*) FROM rescore.snapshots AS s JOIN customers AS c ON c.customer_id::text = s.key
               WHERE abs(s.score - rescore.predict('churn', c)) < 1e-12 AND s.design[2] = c.spend"""
    assert one(full, right) == 20


@pytest.mark.parametrize("engine", ["auto", "python"])
def test_customers_are_not_logged_in_the_order_of_their_keys(full: Connection, engine: str) -> None:
    """What is learnt last counts for most: it must not be those with the greatest keys."""
    learnt = f"churn: {{label: churned, engine: {engine}}}"
    shop(full, DEFINITION.replace("churn: {label: churned}", learnt), 300, models=("churn",))
    orders = []
    for day in (1, 2):
        at(full, f"2026-01-0{day}")
        assert snapshot(full) == 300
        keys = "SELECT array_agg(key::int ORDER BY id) FROM rescore.snapshots WHERE taken_at = %s"
        orders.append(one(full, keys, f"2026-01-0{day}"))
    places = [range(300), *orders]
    assert (np.abs(np.corrcoef(places)[np.triu_indices(3, 1)]) < 0.2).all()


@pytest.mark.parametrize("kind", ["bigint", "text", "uuid"])
def test_the_holdout_is_what_python_says(conn: Connection, kind: str) -> None:
    conn.execute(f"ALTER TABLE orders ALTER customer_id TYPE {kind} USING NULL".encode())
    for table in ("plans", "offers"):
        conn.execute(f"ALTER TABLE {table} ALTER customer_id TYPE {kind} USING NULL".encode())
    conn.execute(f"ALTER TABLE unpaid_list ALTER client TYPE {kind} USING NULL".encode())
    define(conn, DEFINITION.replace("type: bigint", f"type: {kind}"))
    made = {
        "bigint": "i - 250",
        "text": r"""concat(i, '\x \ é''"', chr(8364))""",
        "uuid": "md5(i::text)::uuid",
    }[kind]
    conn.execute(
        f"INSERT INTO orders (customer_id) SELECT {made} FROM generate_series(1, 500) AS i".encode()
    )
    rows = conn.execute(
        "SELECT customer_id::text, holdout, rescore.share('customers holdout', customer_id::text) FROM customers"
    )
    keys, held_out, numbers = zip(*rows, strict=True)
    expected = shares(hash_keys(keys, "customers holdout"))
    assert list(numbers) == list(expected)
    assert list(held_out) == list(expected < 0.3)
    assert 110 < sum(held_out) < 190


def test_another_share_moves_the_holdout(conn: Connection) -> None:
    shop(conn, models=("churn",), customers=200)
    who = "SELECT array_agg(customer_id) FROM customers WHERE holdout"
    before = set(one(conn, who))
    define(conn, DEFINITION.replace("30%", "60%"))
    assert before < set(one(conn, who))
    assert len(before) < 80 < len(one(conn, who))


def test_a_profile_without_labels_has_nothing_to_log(conn: Connection) -> None:
    define(
        conn,
        "profile: {table: plain, key: {name: customer_id, type: bigint}}\nevents: {orders: {time: ordered_at}}\nfeatures: {orders: {from: orders, count: true}}",
    )
    with pytest.raises(NotSupported, match="profile plain has nothing to log"):
        ops.log(conn, "plain")
    with pytest.raises(UnknownProfile, match="unknown profile"):
        ops.log(conn, "plane")


def test_the_job_logs_and_resolves_whatever_is_due(conn: Connection) -> None:
    shop(conn, models=("churn",))
    job = Snapshotting(60.0)
    assert job.work(conn, Event())["taken"] == 20
    at(conn, "2026-01-31")
    facts = job.work(conn, Event())
    assert (facts["taken"], facts["resolved"]) == (20, 20)
    assert "error" not in facts
    hashed = "substr(sha256(convert_to('learn churn:' || key, 'UTF8')), 1, 8)"
    query = f"SELECT count(*) FROM rescore.snapshots WHERE resolved IS NOT NULL AND hash = {hashed}"
    assert one(conn, query) == 20
    assert Snapshotting(60.0, ("another",)).work(conn, Event())["profiles"] == []


def test_the_hash_costs_what_its_expression_does(conn: Connection) -> None:
    """A function that is not inlined is called row by row, for twice as long."""
    query = "EXPLAIN (VERBOSE, COSTS off) SELECT rescore._hash('learn ' || model, key) FROM rescore.snapshots"
    plan = "\n".join(line for (line,) in conn.execute(query.encode()))
    assert "sha256" in plan and "_hash" not in plan
    same = "SELECT rescore.share('a b', 'é7') = ('x' || left(encode(rescore._hash('a b', 'é7'), 'hex'), 13))::bit(52)::bigint / 2::float8 ^ 52"
    assert one(conn, same)


def test_a_clock_that_was_wrong_does_not_stop_the_rounds(conn: Connection) -> None:
    shop(conn, models=("churn",))
    at(conn, "2036-01-01")
    assert snapshot(conn) == 20
    conn.execute("UPDATE rescore.snapshot_rounds SET checked_at = next_at")
    at(conn, "2026-01-02")
    assert snapshot(conn) == 20
    assert one(conn, "SELECT count(*) FROM rescore._check_due('customers')") == 4
    assert snapshot(conn) == 0
    at(conn, "2026-01-03")
    assert snapshot(conn) == 20


@pytest.mark.parametrize("clock", ["infinity", "-infinity"])
def test_nothing_is_written_for_a_moment_that_is_none(conn: Connection, clock: str) -> None:
    shop(conn, ON_EVENTS, models=("churn",))
    everything = "SELECT jsonb_agg(to_jsonb(c) ORDER BY customer_id) FROM customers AS c"
    before = one(conn, everything), one(conn, COUNT)
    conn.execute("SELECT set_config('rescore.clock', %s, false)", [clock])
    for statement in (
        "SELECT rescore.snapshot('customers')",
        "CALL rescore.log_snapshots('customers')",
        "SELECT rescore.resolve('customers')",
        "CALL rescore.sweep('customers')",
        "SELECT rescore.rebuild('customers')",
        "INSERT INTO orders (customer_id, ordered_at, amount) VALUES (1, '2026-01-01Z', 1)",
        "UPDATE orders SET amount = 18 WHERE customer_id = 2",
        "DELETE FROM orders WHERE customer_id = 3",
        "INSERT INTO customers (customer_id) VALUES (1000)",
    ):
        with pytest.raises(psycopg.Error, match=f"rescore.clock is {clock}") as refused:
            conn.execute(statement.encode())
        assert refused.value.sqlstate == "RS020"
    at(conn, "2026-01-01")
    assert (one(conn, everything), one(conn, COUNT)) == before
