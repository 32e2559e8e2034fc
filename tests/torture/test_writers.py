"""Short versions of `make torture`: many writers at once, definitions applied meanwhile."""

from __future__ import annotations

import psycopg

from rescore.torture import concurrency, queued
from rescore.torture.audit import audit
from rescore.torture.book import Book
from rescore.torture.outcome import SHORT
from rescore.torture.places import Place

from .conftest import nothing_lost

WRITES = ("single inserts", "multi-row inserts", "updates", "deletes", "rollbacks")


def test_writers_at_all_isolation_levels_at_once(torn: Place) -> None:
    outcome = concurrency.at_levels(torn, SHORT)
    beside = ("publishes", "sweeps", "rounds of snapshots", "labels resolved")
    nothing_lost(outcome, *WRITES, *beside, "retries of 40001")


def test_queued_events_are_folded_exactly_once_whoever_is_killed_at_it(torn: Place) -> None:
    outcome = queued.at_levels(torn, SHORT)
    nothing_lost(outcome, *WRITES, "transactions of three", "runners killed")


def test_definitions_are_applied_during_writes(torn: Place) -> None:
    outcome = concurrency.changing(torn, SHORT)
    nothing_lost(outcome, *WRITES, "definitions applied")
    # A wait for `apply` ends with its lock_timeout of at most half the deadlock_timeout of 200 ms,
    # the transaction itself, and a machine that has other things to do.
    assert outcome.done["longest insert, ms"] < 5000


def test_the_audit_finds_what_is_wrong(torn: Place) -> None:
    """An audit that finds nothing wherever it looks would make every scenario pass."""
    with psycopg.connect(torn.dsn(torn.shop()), autocommit=True) as conn:
        assert audit(conn) == []
        conn.execute("UPDATE customer_profile SET orders = orders + 1 WHERE customer_id = 1")
        conn.execute("UPDATE customer_profile SET churn_score = 0.123 WHERE customer_id = 2")
        conn.execute("UPDATE customer_profile SET worth_score_at = NULL WHERE customer_id = 3")
        book = Book(first=0)
        book.rows = {1: 3}
        found = "\n".join(audit(conn, [book]))
    assert "('1', 'orders', '2', '1')" in found
    assert "values of churn_score are not what version" in found
    assert "1 rows without a score" in found
    assert "statement 1: 0 rows of 3" in found
