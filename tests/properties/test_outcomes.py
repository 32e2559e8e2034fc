"""Whatever happens in whatever order, snapshots say what an independent recount says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescore.tests.properties.outcomes import CUSTOMERS, DEFINITION, STEP, STEPS, History, Snapshot
from rescore.tests.snapshot_shop import MODELS, Connection, at, connected, shop
from rescore.tests.support import examples, one

TOLD = b"""SELECT model, key, taken_at, label, censored, early, treated_at, due_at, resolved_at, label_first, corrected_at
           FROM rescore.snapshots ORDER BY model, taken_at, key"""
EMPTIED = b"""TRUNCATE orders, plans, unpaid_list, offers; DELETE FROM rescore.snapshots; DELETE FROM rescore.snapshot_rounds;
              INSERT INTO orders (customer_id, ordered_at) SELECT i, timestamptz '2025-12-01Z' FROM generate_series(1, 4) AS i"""
TABLES = {
    "orders": ("orders (customer_id, ordered_at)", "orders"),
    "plans": ("plans (customer_id, at, kind)", "plans"),
    "unpaid": ("unpaid_list (client, churned_on, booked_on)", "unpaid_list"),
    "offers": ("offers (customer_id, sent_at, kind)", "offers"),
}


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        shop(made, DEFINITION, 0)
        yield made


@settings(max_examples=examples(25))
@given(st.lists(STEPS, min_size=5, max_size=40))
def test_resolved_labels_are_those_of_a_recount_and_nothing_resolves_early(
    conn: Connection, steps: list[tuple[Any, ...]]
) -> None:
    conn.execute(EMPTIED)
    history = History()
    at(conn, str(history.clock))
    for step in steps:
        do(conn, history, *step)
    history.clock += STEP
    at(conn, str(history.clock))
    do(conn, history, "resolve")


def do(conn: Connection, history: History, what: str, *given: Any) -> None:
    if what == "clock":
        history.clock += given[0] * STEP
        at(conn, str(history.clock))
    elif what == "snapshot":
        take(conn, history)
    elif what == "resolve":
        one(conn, "SELECT rescore.resolve('customers')")
        history.resolve()
        compare(conn, history)
    elif what == "forget":
        forget(conn, history, given[0])
    else:
        happen(conn, history, what, *given)


def take(conn: Connection, history: History) -> None:
    if one(conn, "SELECT rescore.snapshot('customers')"):
        history.snapshots += [
            Snapshot(m, k, history.clock) for m in MODELS for k in range(1, CUSTOMERS + 1)
        ]


def happen(conn: Connection, history: History, what: str, key: int, ago: int, *rest: Any) -> None:
    """Insert a row, late or early; its last value is a text, or how much later it was known."""
    time = history.clock + ago * STEP
    row = (key, time, *(time + r * STEP if isinstance(r, int) else r for r in rest))
    getattr(history, what).append(row)
    places = ", ".join(["%s"] * len(row))
    conn.execute(f"INSERT INTO {TABLES[what][0]} VALUES ({places})".encode(), row)


def forget(conn: Connection, history: History, what: str) -> None:
    """Delete all rows: labels that rested on them are to be corrected."""
    getattr(history, what).clear()
    conn.execute(f"DELETE FROM {TABLES[what][1]}".encode())


def compare(conn: Connection, history: History) -> None:
    found = conn.execute(TOLD).fetchall()
    assert found == sorted((s.told() for s in history.snapshots), key=lambda r: (r[0], r[2], r[1]))
    open_ = "SELECT count(*) FROM rescore.snapshots WHERE due_at > rescore.clock() AND (resolved IS NOT NULL OR label IS NOT NULL)"
    assert one(conn, open_) == 0
