"""Short versions of `make torture`: standbys, subscribers, dumps, upgrades."""

from __future__ import annotations

import pytest

from rescore.torture import backup, replica, standby, upgrade
from rescore.torture.outcome import SHORT
from rescore.torture.places import Place, place

from .conftest import nothing_lost

WRITES = ("single inserts", "multi-row inserts", "updates")


@pytest.mark.long
def test_a_standby_answers_and_goes_on_when_promoted(torn: Place) -> None:
    outcome = standby.promoted(torn, SHORT)
    learnt = ("versions learnt", "examples learnt by the run after")
    nothing_lost(outcome, *WRITES, "answers of the standby", "standbys promoted", *learnt)


@pytest.mark.long
def test_a_subscriber_scores_what_its_publisher_knows_nothing_of(torn: Place) -> None:
    outcome = replica.subscribed(torn, SHORT)
    nothing_lost(outcome, *WRITES, "deletes", "replicated truncates", "publishes")


@pytest.mark.long
def test_a_restored_dump_is_the_same_and_goes_on(torn: Place) -> None:
    nothing_lost(backup.restored(torn, SHORT), *WRITES, "dumps", "restores")


@pytest.mark.long
def test_a_restored_dump_is_the_same_where_a_superuser_installed() -> None:
    with place() as made:  # which has aggregates, and functions in Python
        nothing_lost(backup.restored(made, SHORT), *WRITES, "dumps", "restores")


@pytest.mark.long
def test_released_revisions_are_upgraded_also_when_cut_short(torn: Place) -> None:
    nothing_lost(upgrade.upgraded(torn, SHORT), "upgrades")
