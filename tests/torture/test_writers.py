"""Short versions of `make torture`: many writers at once, definitions applied meanwhile."""

from __future__ import annotations

import pytest

from rescore.torture import concurrency, queued
from rescore.torture.outcome import SHORT
from rescore.torture.places import Place

from .conftest import nothing_lost

WRITES = ("single inserts", "multi-row inserts", "updates", "deletes", "rollbacks")


def test_writers_at_all_isolation_levels_at_once(torn: Place) -> None:
    outcome = concurrency.at_levels(torn, SHORT)
    beside = ("versions learnt", "publishes", "sweeps", "rounds of snapshots", "labels resolved")
    nothing_lost(outcome, *WRITES, *beside, "retries of 40001")


@pytest.mark.long
def test_queued_events_are_folded_exactly_once_whoever_is_killed_at_it(torn: Place) -> None:
    outcome = queued.at_levels(torn, SHORT)
    nothing_lost(outcome, *WRITES, "transactions of three", "runners killed")


@pytest.mark.long
def test_definitions_are_applied_during_writes(torn: Place) -> None:
    outcome = concurrency.changing(torn, SHORT)
    nothing_lost(outcome, *WRITES, "definitions applied")
    # A wait for `apply` ends with its lock_timeout of at most half the deadlock_timeout of 200 ms,
    # the transaction itself, and a machine that has other things to do.
    assert outcome.done["longest insert, ms"] < 5000
