"""Rounds log customers by key: what is told of the newest snapshots is told of all customers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from rescore.tests.learning_shop import DEFINITION, LEARN, connected
from rescore.tests.support import define, one
from rescore.trainer.loop import attempt, drift, reading, triggers
from rescore.trainer.loop.attempt import moment
from rescore.trainer.loop.drift import watch
from rescore.trainer.loop.reading import Reader
from rescore.trainer.loop.state import read_state
from rescore.trainer.loop.triggers import served_quality

Connection = psycopg.Connection[Any]

ROUNDS = DEFINITION.replace("LEARN", LEARN) + "snapshot: {every: 1 day}\n"
CUSTOMERS = 3000


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        define(made, ROUNDS)
        yield made


def logged(conn: Connection, rounds: int, customers: int = CUSTOMERS, batches: int = 1) -> None:
    """Log rounds, the greater the key the more is spent and the rarer the outcome, in batches."""
    conn.execute(
        """INSERT INTO rescore.snapshots (model, key, taken_at, version, score, design, label, due_at, resolved, resolved_at)
           SELECT 'churn', n::text, r.taken_at, d.champion, 0.5, ARRAY[n, 10], (n %% %(customers)s < (n * 7919) %% %(customers)s)::integer,
                  r.taken_at, pg_current_xact_id(), r.taken_at
           FROM rescore.deployments AS d, generate_series(1, %(rounds)s) AS i, generate_series(1, %(customers)s) AS n,
                LATERAL (SELECT timestamptz '2026-01-01 00:00+00' + i * interval '1 day'
                                + n * %(batches)s / (%(customers)s + 1) * interval '1 minute') AS r (taken_at)
           ORDER BY i, n""",
        {"rounds": rounds, "customers": customers, "batches": batches},
    )


@pytest.mark.parametrize("batches", [1, 7])
@pytest.mark.parametrize("newest", [500, 3000, 7000, 20_000])
def test_the_newest_snapshots_are_of_all_customers(
    conn: Connection, newest: int, batches: int
) -> None:
    logged(conn, 4, batches=batches)
    reader = Reader.of(conn, read_state(conn, "churn"))
    for resolved in (False, True):
        spent = reader.recent(newest, resolved=resolved).design[:, 0]
        whole = min(newest // CUSTOMERS, 4) * CUSTOMERS
        assert len(spent) == whole if whole else newest * 0.85 < len(spent) <= newest
        low, middle, high = (np.quantile(spent, q) / CUSTOMERS for q in (0.1, 0.5, 0.9))
        assert (low, middle, high) == pytest.approx((0.1, 0.5, 0.9), abs=0.05)


@pytest.mark.parametrize("batches", [1, 7])
def test_no_change_is_told_where_only_keys_differ(
    conn: Connection, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    logged(conn, 4, batches=batches)
    for newest in (700, 7000):
        monkeypatch.setattr(drift, "NEWEST", newest)
        found = {each.feature: each for each in watch(conn, "churn")}
        assert {each.changed_at for each in found.values()} == {None}
        assert (found["spend"].numbers.get("psi") or 0.0) < 0.1


def test_the_quality_of_what_is_served_is_that_of_all_customers(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged(conn, 2)
    state = read_state(conn, "churn")
    reader = Reader.of(conn, state)
    monkeypatch.setattr(triggers, "NEWEST", 300)
    tested = triggers._unlearnt(reader, state)
    assert 240 < len(tested) < 360
    assert np.median(tested.design[:, 0]) == pytest.approx(CUSTOMERS / 2, rel=0.15)
    assert served_quality(state, reader) is not None


def test_the_gate_tests_on_all_customers_and_drift_is_told_against_them(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "MOST_TESTS", 150)
    monkeypatch.setattr(attempt, "MOST_TO_REFER", 200)
    monkeypatch.setattr(reading, "PAGE_BYTES", 0)
    logged(conn, 2)
    state = read_state(conn, "churn")
    tried = attempt.Attempt(state, Reader.of(conn, state))
    assert tried.take(2 * CUSTOMERS, exactly=False)
    assert tried.learnt is not None
    for kept, most in ((tried.tests(), 150), (tried.learnt.newest.block, 200)):
        assert most <= len(kept) < 2 * most
        found = np.quantile(kept.design[:, 0] / CUSTOMERS, (0.1, 0.5, 0.9))
        assert found == pytest.approx((0.1, 0.5, 0.9), abs=0.1)


def test_a_look_at_the_newest_round_reads_no_other(conn: Connection) -> None:
    """Neither older rounds nor those whose outcome is not known yet, which may be of many months."""
    logged(conn, 6)
    conn.execute(
        "UPDATE rescore.snapshots SET resolved = NULL, resolved_at = NULL, label = NULL WHERE taken_at >= '2026-01-04Z'"
    )
    for option in ("seqscan", "sort"):  # as of a large table
        conn.execute(f"SET enable_{option} = off".encode())
    conn.execute("VACUUM (ANALYZE, FREEZE) rescore.snapshots")
    reader = Reader.of(conn, read_state(conn, "churn"))
    day = {False: 6, True: 2}
    for resolved in (False, True):
        rounds = reader.rounds(100, resolved=resolved)
        assert rounds.until is not None
        assert (rounds.since.day, rounds.until.day) == (day[resolved], day[resolved] + 1)
        given = {"every": reader.every, "size": 100, "resolved": resolved}
        statement = reader._statement("learn_round", given).as_string(conn)
        [plan] = one(conn, f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
        assert read(plan["Plan"]) < 400


@pytest.mark.parametrize("change", ["quarantined = 'absurd'", "version = version + 90"])
def test_rounds_of_which_nothing_may_be_looked_at_are_passed_over(
    conn: Connection, change: str
) -> None:
    logged(conn, 4)
    day = "FROM rescore.snapshots AS s WHERE s.taken_at >= '2026-01-05Z'"
    changed = f"UPDATE rescore.snapshots SET {change} WHERE id IN (SELECT s.id {day})"
    assert conn.execute(changed.encode()).rowcount == CUSTOMERS
    reader = Reader.of(conn, read_state(conn, "churn"))
    for resolved in (False, True):
        block = reader.recent(CUSTOMERS, resolved=resolved)
        assert len(block) == CUSTOMERS
        assert {moment(at).day for at in (block.taken.min(), block.taken.max())} == {4}
    assert len(reader.recent_tests(0.2, None, 300)) > 200


def read(plan: dict[str, Any]) -> int:
    """Return how many snapshots the scans of a plan looked at."""
    parts = sum(map(read, plan.get("Plans", [])))
    if not str(plan.get("Relation Name")).startswith("snapshots"):
        return parts
    seen = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    return int(parts + seen * plan["Actual Loops"])


def test_events_that_are_logged_have_no_rounds(conn: Connection) -> None:
    define(conn, DEFINITION.replace("LEARN", LEARN))
    logged(conn, 1, customers=1000)
    reader = Reader.of(conn, read_state(conn, "churn"))
    assert reader.every is None
    assert reader.recent(100, resolved=False).design[:, 0].tolist() == one(
        conn,
        "SELECT array_agg(n::float8) FROM (SELECT key::integer AS n FROM rescore.snapshots ORDER BY key DESC LIMIT 100) AS s",
    )


def test_rounds_that_are_defined_later_are_taken(plain_dsn: str) -> None:
    with connected(plain_dsn) as conn:
        kept = "SELECT definition #>> '{snapshot,keep}' FROM rescore.profiles"
        conn.execute("INSERT INTO customers VALUES (1, 100, 10)")
        assert define(conn, ROUNDS).changes == ["keep what the definition says; functions stay"]
        taken = conn.execute("SELECT rescore.snapshot('customers')").fetchone()
        assert taken is not None and one(conn, "SELECT count(*) FROM rescore.snapshots") == 1
        longer = ROUNDS.replace("every: 1 day", "every: 1 day, keep: 700 days")
        assert not define(conn, longer).empty and one(conn, kept) == "700 days"
        assert define(conn, longer).empty
