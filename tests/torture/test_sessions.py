"""Short versions of `make torture`: poolers, memory, people forgotten meanwhile."""

from __future__ import annotations

import os

import pytest

from rescore.torture import memory, pooler, privacy
from rescore.torture.outcome import SHORT
from rescore.torture.places import Place
from rescore.torture.programs import bouncer

from .conftest import nothing_lost

WRITES = ("single inserts", "multi-row inserts", "updates")


def test_pooled_clients_lose_nothing_and_leave_nothing(torn: Place) -> None:
    if bouncer() is None:
        if "CI" in os.environ and os.geteuid() == 0:
            pytest.fail("PgBouncer is not installed: server/setup.sh should have done it")
        pytest.skip("PgBouncer is not installed")
    nothing_lost(pooler.pooled(torn, SHORT), *WRITES, "publishes", "backends")


@pytest.mark.long
def test_the_memory_of_a_backend_stays(torn: Place) -> None:
    for outcome in memory.flat(torn, SHORT):
        nothing_lost(outcome, "events", "publishes", "kB at the end")


@pytest.mark.long
def test_people_forgotten_under_load_stay_forgotten(torn: Place) -> None:
    nothing_lost(privacy.forgotten(torn, SHORT), *WRITES, "people forgotten")
